#include "train/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "util/error.h"

namespace mixflow {

AppendFile::AppendFile(const std::filesystem::path& path, std::int64_t keep_bytes) : path_(path) {
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0)
    throw RunError(path.string() + ": cannot be opened for writing: " + std::strerror(errno));
  const off_t size = lseek(fd_, 0, SEEK_END);
  if (size < keep_bytes) {
    throw RunError(path.string() + ": has " + std::to_string(size) +
                   " bytes, but the checkpoint was written when it had " +
                   std::to_string(keep_bytes) +
                   "; restore the file, or start again in another directory");
  }
  if (ftruncate(fd_, keep_bytes) != 0 || lseek(fd_, keep_bytes, SEEK_SET) < 0) {
    throw RunError(path.string() + ": " + std::strerror(errno));
  }
  bytes_ = keep_bytes;
}

AppendFile::~AppendFile() {
  try {
    write_buffer();
  } catch (const RunError&) {  // a run that ends in an error reports that one
  }
  if (fd_ >= 0) close(fd_);
}

void AppendFile::append(std::string_view record) {
  buffer_ += record;
  if (buffer_.size() >= 16384) write_buffer();
}

std::int64_t AppendFile::sync() {
  write_buffer();
  if (fsync(fd_) != 0) throw RunError(path_.string() + ": " + std::strerror(errno));
  return bytes_;
}

void AppendFile::write_buffer() {
  std::size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t n = write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw RunError(path_.string() + ": cannot be written: " + std::strerror(errno));
    done += static_cast<std::size_t>(n);
  }
  bytes_ += static_cast<std::int64_t>(buffer_.size());
  buffer_.clear();
}

}  // namespace mixflow
