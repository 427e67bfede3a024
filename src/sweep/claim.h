// Who runs a point. A claim is a file claims/<point>.<attempt> that can be made once only, whatever
// the file system and however many machines try; it tells its owner, and is locked while the owner
// or its child lives. A point is taken over by claiming its next attempt.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace mixflow {

// This process, for others.
struct Owner {
  std::string host;  // for people
  std::string boot;  // the running kernel's id: processes with the same share locks
  int pid = 0;
  bool operator==(const Owner&) const = default;
};
const Owner& this_process();

class Claim {
 public:
  // Nothing if the attempt has been claimed already. Throws RunError for a disk that fails.
  static std::optional<Claim> take(const std::filesystem::path& directory, const std::string& point,
                                   int attempt);
  ~Claim();
  Claim(Claim&& other) noexcept;
  Claim& operator=(Claim&& other) noexcept;
  Claim(const Claim&) = delete;

  // The descriptor that holds the lock; a child that inherits it keeps the claim alive.
  int descriptor() const { return fd_; }
  int attempt() const { return attempt_; }

 private:
  Claim(int fd, int attempt) : fd_(fd), attempt_(attempt) {}
  int fd_ = -1;
  int attempt_ = 0;
};

// What is known of an attempt's claim.
struct ClaimState {
  enum class Life : unsigned char {
    none,     // not claimed
    held,     // its owner or the owner's child lives
    ended,    // they do not
    unknown,  // on another machine, or without locks: heartbeats decide
  } life = Life::none;
  Owner owner;
};
ClaimState inspect_claim(const std::filesystem::path& directory, const std::string& point,
                         int attempt);

}  // namespace mixflow
