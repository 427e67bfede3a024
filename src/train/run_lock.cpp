#include "train/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "util/failure.h"
#include "util/own_file.h"

namespace mixflow {
namespace {

// " by process N", or nothing while the holder has not written it yet.
std::string holder(int fd) {
  char text[32];
  const ssize_t size = pread(fd, text, sizeof text, 0);
  return size > 0 ? " by process " + std::string(text, static_cast<std::size_t>(size)) : "";
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "lock";
  fd_ = open_own_file(path, O_RDWR | O_CREAT);
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    const std::string by = error == EWOULDBLOCK ? holder(fd_) : "";
    close(fd_);
    if (error != EWOULDBLOCK) {
      throw UserError(path.string() + ": the file system refuses to lock it (" +
                      std::strerror(error) +
                      "), so that two processes could write to one run: choose an --out on a file "
                      "system with locks");
    }
    throw InUseError(directory.string() + std::string(kRunInUse) + by +
                     "; wait for it or choose another --out");
  }
  const std::string process = std::to_string(getpid());
  // For the message alone: a full disk does no harm to the lock.
  if (ftruncate(fd_, 0) != 0 || write(fd_, process.data(), process.size()) < 0) return;
}

RunLock::~RunLock() {
  if (ftruncate(fd_, 0) != 0) errno = 0;
  close(fd_);
}

}  // namespace mixflow
