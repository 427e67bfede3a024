#include "util/shared_bytes.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>

#include "util/failure.h"
#include "util/input_file.h"

namespace mixflow {
namespace {

namespace fs = std::filesystem;

// --- a file that shrinks under its mapping ---------------------------------------------
// Touching a page beyond the file's end raises SIGBUS, which no read error can become. The handler
// finds the file by the address, says what happened and ends the process.

struct Watched {
  std::atomic<std::uintptr_t> begin{0}, end{0};  // begin 0: free
  std::array<char, 512> name{};
};
constexpr std::size_t kMostWatched = 64;  // further files are mapped all the same
std::array<Watched, kMostWatched> watched;
struct sigaction action_before {};

void say(const char* text) {
  const ssize_t written = ::write(STDERR_FILENO, text, std::strlen(text));
  static_cast<void>(written);
}

void on_bus_error(int, siginfo_t* info, void*) {
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const Watched& file : watched) {
    if (file.begin.load() == 0 || at < file.begin.load() || at >= file.end.load()) continue;
    say("mixflow: run failed: ");
    say(file.name.data());
    say(": cannot be read: it has become shorter since it was opened, or the disk fails\n");
    _exit(1);
  }
  ::sigaction(SIGBUS, &action_before, nullptr);  // not ours: it comes again at once
}

Watched* watch(const fs::path& path, const std::byte* begin, std::size_t size) {
  static std::mutex mutex;
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    return ::sigaction(SIGBUS, &action, &action_before) == 0;
  }();
  const std::lock_guard lock(mutex);
  const auto free = std::ranges::find_if(watched, [](const Watched& w) { return w.begin == 0; });
  if (!installed || free == watched.end()) return nullptr;
  const std::string name = path.string().substr(0, free->name.size() - 1);
  std::copy_n(name.c_str(), name.size() + 1, free->name.begin());
  free->end = reinterpret_cast<std::uintptr_t>(begin) + size;
  free->begin = reinterpret_cast<std::uintptr_t>(begin);
  return &*free;
}

// --- mapping ---------------------------------------------------------------------------

struct Mapping {
  std::byte* begin = nullptr;
  std::size_t size = 0;
  Watched* watched_as = nullptr;

  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (watched_as != nullptr) watched_as->begin = 0;
    if (begin != nullptr) ::munmap(begin, size);
  }
};

}  // namespace

SharedBytes SharedBytes::map(const fs::path& path) {
  const InputFile file(path);
  auto mapping = std::make_shared<Mapping>();
  mapping->size = static_cast<std::size_t>(file.bytes());
  if (mapping->size > 0) {  // an empty mapping is an error
    void* begin = ::mmap(nullptr, mapping->size, PROT_READ, MAP_SHARED, file.descriptor(), 0);
    if (begin == MAP_FAILED) {
      throw IoError(path.string() + ": cannot be mapped: " + std::strerror(errno));
    }
    mapping->begin = static_cast<std::byte*>(begin);
    mapping->watched_as = watch(path, mapping->begin, mapping->size);
  }
  const std::span<const std::byte> bytes(mapping->begin, mapping->size);
  return {std::move(mapping), bytes, true};
}

SharedBytes SharedBytes::own(std::vector<std::byte> bytes) {
  auto buffer = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  const std::span<const std::byte> all(*buffer);
  return {std::move(buffer), all, false};
}

SharedBytes SharedBytes::keep(std::shared_ptr<const void> owner, std::span<const std::byte> bytes) {
  return {std::move(owner), bytes, false};
}

SharedBytes SharedBytes::part(std::span<const std::byte> inside) const {
  MIXFLOW_CHECK(inside.empty() ||
                    (inside.data() >= data() && inside.data() + inside.size() <= data() + size()),
                "a part lies inside the whole");
  return {owner_, inside, mapped_};
}

void SharedBytes::release(std::size_t offset, std::size_t size) const {
  if (!mapped_ || bytes_.empty()) return;  // a buffer's pages would come back as zeros
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(bytes_.data()) + offset;
  const std::uintptr_t first = (begin + page - 1) / page * page;
  const std::uintptr_t last = (begin + size) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace mixflow
