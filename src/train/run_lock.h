// One process at a time in a run directory: a lock on the file `lock` in it, which the system takes
// back when the process ends, however it ends.
#pragma once

#include <filesystem>
#include <string_view>

namespace mixflow {

// What the message says when another process has the lock.
inline constexpr std::string_view kRunInUse = ": is in use";

class RunLock {
 public:
  // Takes the lock, creating its file; while it is held the file tells the process's number. Throws
  // UserError: another process has the lock, the file may not be written or is a symbolic link, or
  // the file system has no locks.
  explicit RunLock(const std::filesystem::path& directory);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace mixflow
