#include "util/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "util/error.h"
#include "util/memory.h"

namespace mixflow {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail_read(const fs::path& path, int error) {
  const std::string where = path.string() + ": ";
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      throw UserError(where + "no such file");
    case EACCES:
    case EPERM:
      throw UserError(where + "may not be read (permission denied)");
    case ELOOP:
    case ENAMETOOLONG:
      throw UserError(where + std::strerror(error));
    default:
      throw RunError(where + "cannot be read: " + std::strerror(error));
  }
}

// What is no regular file; null if it is one.
const char* other_kind(mode_t mode) {
  if (S_ISREG(mode)) return nullptr;
  if (S_ISDIR(mode)) return "a directory, expected a file";
  if (S_ISFIFO(mode)) return "a pipe, expected a file; write its content to a file first";
  return S_ISSOCK(mode) ? "a socket, expected a file" : "a device, expected a file";
}

void check_kind(const fs::path& path, mode_t mode) {
  if (const char* kind = other_kind(mode)) throw UserError(path.string() + ": is " + kind);
}

std::string too_large(const InputFile& file, const SizeLimit* limit, std::int64_t memory) {
  const std::string where = file.path().string() + ": ";
  if (limit == nullptr) {
    return where + "holds " + format_bytes(file.bytes()) + ", more than the " +
           format_bytes(memory) + " of memory that this process may use";
  }
  return where + "larger than " + format_bytes(limit->bytes) + ", which no " +
         std::string(limit->kind) + " is; check the path";
}

}  // namespace

InputFile::InputFile(const fs::path& path) : path_(path) {
  struct stat status {};
  // Opening a device may act on it.
  if (::stat(path.c_str(), &status) != 0) fail_read(path, errno);
  check_kind(path, status.st_mode);
  // Without O_NONBLOCK a pipe that has taken the name meanwhile would wait for a writer.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd_ < 0) fail_read(path, errno);
  try {
    if (::fstat(fd_, &status) != 0) fail_read(path, errno);
    check_kind(path, status.st_mode);
  } catch (...) {
    ::close(fd_);
    throw;
  }
  bytes_ = status.st_size;
}

InputFile::~InputFile() {
  if (fd_ >= 0) ::close(fd_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), bytes_(other.bytes_) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void InputFile::check_size(std::optional<SizeLimit> limit) const {
  const std::int64_t most = limit ? limit->bytes : usable_memory_bytes();
  if (bytes_ > most) throw UserError(too_large(*this, limit ? &*limit : nullptr, most));
}

std::size_t InputFile::read_some(std::int64_t offset, std::span<std::byte> out) const {
  std::size_t size = 0;
  while (size < out.size()) {
    const ssize_t count = ::pread(fd_, out.data() + size, out.size() - size,
                                  offset + static_cast<std::int64_t>(size));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_read(path_, errno);
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  return size;
}

void InputFile::read(std::int64_t offset, std::span<std::byte> out) const {
  const std::size_t size = read_some(offset, out);
  if (size == out.size()) return;
  throw UserError(path_.string() + ": ends at byte " +
                  std::to_string(offset + static_cast<std::int64_t>(size)) + ", expected " +
                  std::to_string(offset + static_cast<std::int64_t>(out.size())) +
                  " or more; it may be truncated");
}

std::vector<std::byte> read_file(const fs::path& path, std::optional<SizeLimit> limit) {
  const InputFile file(path);
  file.check_size(limit);
  // A file may grow while it is read, and those of /proc tell no size: so much may come, and one
  // byte more to find the end.
  constexpr std::int64_t kGrowth = 64 << 10;
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.bytes() + 1));
  std::size_t size = file.read_some(0, bytes);
  if (size == bytes.size()) {
    bytes.resize(size + kGrowth);
    size += file.read_some(static_cast<std::int64_t>(size), std::span(bytes).subspan(size));
    if (size == bytes.size())
      throw RunError(path.string() + ": grows while it is read; try again once it is whole");
  }
  bytes.resize(size);
  return bytes;
}

std::string read_text(const fs::path& path, std::optional<SizeLimit> limit) {
  const std::vector<std::byte> bytes = read_file(path, limit);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace mixflow
