#include "train/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "util/failure.h"
#include "util/own_file.h"

namespace mixflow {

AppendFile::AppendFile(const std::filesystem::path& path, const FileMark& keep)
    : path_(path), fd_(open_own_file(path, O_RDWR | O_CREAT)) {
  try {
    take_over(keep);
  } catch (...) {
    close(fd_);
    throw;
  }
}

void AppendFile::take_over(const FileMark& keep) {
  const off_t size = lseek(fd_, 0, SEEK_END);
  if (size < keep.bytes) {
    throw UserError(path_.string() + ": has " + std::to_string(size) +
                    " bytes, but the checkpoint was written when it had " +
                    std::to_string(keep.bytes) +
                    "; restore the file, or start again in another directory");
  }
  if (lseek(fd_, 0, SEEK_SET) < 0) throw IoError(path_.string() + ": " + std::strerror(errno));
  std::vector<char> piece(std::size_t{1} << 16);
  while (bytes_ < keep.bytes) {
    const auto wanted = std::min<std::int64_t>(keep.bytes - bytes_, std::ssize(piece));
    const ssize_t count = read(fd_, piece.data(), static_cast<std::size_t>(wanted));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw IoError(path_.string() + ": cannot be read: " + std::strerror(errno));
    hash_.add(std::string_view(piece.data(), static_cast<std::size_t>(count)));
    bytes_ += count;
  }
  if (bytes_ > 0 && hash_.digits() != keep.hash) {
    throw UserError(
        path_.string() + ": its first " + std::to_string(keep.bytes) +
        " bytes are not those that the checkpoint was written beside: the checkpoint "
        "is another run's, or the file was changed. Put back what belongs together, delete "
        "the newest checkpoint, or start again in another directory");
  }
  if (ftruncate(fd_, bytes_) != 0) throw IoError(path_.string() + ": " + std::strerror(errno));
}

AppendFile::~AppendFile() {
  try {
    flush();
  } catch (const RunError&) {  // a run that ends in an error reports that one
  }
  close(fd_);
}

void AppendFile::append(std::string_view record) {
  buffer_ += record;
  if (buffer_.size() >= 16384) flush();
}

FileMark AppendFile::sync() {
  flush();
  if (fsync(fd_) != 0) throw IoError(path_.string() + ": " + std::strerror(errno));
  return {bytes_, bytes_ > 0 ? hash_.digits() : ""};
}

// What fails is not tried again: part of it may be in the file.
void AppendFile::flush() {
  const std::string records = std::exchange(buffer_, {});
  std::size_t done = 0;
  while (done < records.size()) {
    const ssize_t n = write(fd_, records.data() + done, records.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw IoError(path_.string() + ": cannot be written: " + std::strerror(errno));
    done += static_cast<std::size_t>(n);
  }
  hash_.add(records);
  bytes_ += static_cast<std::int64_t>(records.size());
}

}  // namespace mixflow
