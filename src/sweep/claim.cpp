#include "sweep/claim.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string_view>
#include <utility>

#include "util/error.h"

namespace mixflow {
namespace {

namespace fs = std::filesystem;

fs::path claim_path(const fs::path& directory, const std::string& point, int attempt) {
  return directory / (point + "." + std::to_string(attempt));
}

[[noreturn]] void fail(const fs::path& path, int error) {
  throw RunError(path.string() + ": cannot be written: " + std::strerror(error));
}

// A locked file that tells the owner, at `path`; -1 if it exists.
int make_locked(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0 && errno == EEXIST) return -1;
  if (fd < 0) fail(path, errno);
  const Owner& owner = this_process();
  const nlohmann::ordered_json json = {
      {"host", owner.host}, {"boot", owner.boot}, {"pid", owner.pid}};
  const std::string text = json.dump() + "\n";
  // Without locks heartbeats decide.
  const bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0 || errno == ENOLCK || errno == EOPNOTSUPP;
  if (!locked || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      fsync(fd) != 0) {
    const int error = errno;
    close(fd);
    unlink(path.c_str());
    fail(path, error);
  }
  return fd;
}

}  // namespace

const Owner& this_process() {
  static const Owner kOwner = [] {
    Owner owner;
    std::array<char, 256> host{};
    gethostname(host.data(), host.size() - 1);
    owner.host = host.data();
    std::ifstream("/proc/sys/kernel/random/boot_id") >> owner.boot;
    owner.pid = getpid();
    return owner;
  }();
  return kOwner;
}

// The file is whole and locked before it gets its name.
std::optional<Claim> Claim::take(const fs::path& directory, const std::string& point, int attempt) {
  const fs::path path = claim_path(directory, point, attempt);
  // Containers may share process numbers: a random one tells them apart.
  const fs::path temporary = path.string() + ".tmp." + std::to_string(getpid()) + "." +
                             std::to_string(std::random_device()());
  int fd = make_locked(temporary);
  if (fd < 0) return std::nullopt;
  const bool made = link(temporary.c_str(), path.c_str()) == 0;
  const int error = made ? 0 : errno;
  unlink(temporary.c_str());
  if (!made) {
    close(fd);
    if (error == EEXIST) return std::nullopt;
    const bool no_links = error == EPERM || error == EOPNOTSUPP || error == ENOSYS;
    if (!no_links) fail(path, error);
    fd = make_locked(path);  // the lock on the ledger keeps others from looking in between
    if (fd < 0) return std::nullopt;
  }
  return Claim(fd, attempt);
}

Claim::~Claim() {
  if (fd_ >= 0) close(fd_);
}

Claim::Claim(Claim&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), attempt_(other.attempt_) {}

Claim& Claim::operator=(Claim&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(attempt_, other.attempt_);
  return *this;
}

ClaimState inspect_claim(const fs::path& directory, const std::string& point, int attempt) {
  using Life = ClaimState::Life;
  ClaimState state;
  const fs::path path = claim_path(directory, point, attempt);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    state.life = errno == ENOENT ? Life::none : Life::unknown;
    return state;
  }
  std::array<char, 1024> content;
  const ssize_t size = pread(fd, content.data(), content.size(), 0);
  const std::string_view told(content.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  const auto json = nlohmann::ordered_json::parse(told, nullptr, false);
  if (json.is_object()) {
    const auto of = [&](const char* key, auto as_long_as) {
      const auto found = json.find(key);
      return found != json.end() && as_long_as(*found) ? *found : nlohmann::ordered_json();
    };
    const auto text = [&](const char* key) {
      const auto value = of(key, [](const auto& v) { return v.is_string(); });
      return value.is_null() ? std::string() : value.template get<std::string>();
    };
    const auto pid = of("pid", [](const auto& v) { return v.is_number_integer(); });
    state.owner = {text("host"), text("boot"), pid.is_null() ? 0 : pid.template get<int>()};
  }
  state.life = Life::unknown;
  if (state.owner.boot == this_process().boot) {
    const bool free = flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (free || errno == EWOULDBLOCK) state.life = free ? Life::ended : Life::held;
  }
  close(fd);
  return state;
}

}  // namespace mixflow
