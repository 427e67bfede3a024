#include "util/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "util/failure.h"
#include "util/own_file.h"

namespace mixflow {

namespace {

namespace fs = std::filesystem;

// Closes on every way out; close(2) errors are checked where they matter, through `close`.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool close() {
    const int fd = fd_;
    fd_ = -1;
    return ::close(fd) == 0;
  }

 private:
  int fd_;
};

// Deletes the temporary file unless the rename has taken it away.
struct Temporary {
  fs::path path;
  bool renamed = false;
  ~Temporary() {
    if (!renamed) ::unlink(path.c_str());
  }
};

std::string reason(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "the disk is full (or your quota is used up): free some space and run again";
    case EFBIG:
      return "the file would exceed the size limit (`ulimit -f`, or the file system's)";
    case EROFS:
      return "the file system is read-only";
    default:
      return std::strerror(error);
  }
}

[[noreturn]] void fail_write(const fs::path& path, const fs::path& directory, int error) {
  const std::string where = path.string() + ": ";
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      throw UserError(where + "cannot be written: there is no directory " + directory.string());
    case EACCES:
    case EPERM:
    case EROFS:
      throw UserError(where + "cannot be written: the directory " + directory.string() + " is " +
                      (error == EROFS ? "on a read-only file system" : "not writable by you"));
    case EISDIR:
    case ENOTEMPTY:
    case EEXIST:
      throw UserError(where + "cannot be written: it is a directory");
    default:
      throw IoError(where + "cannot be written: " + reason(error));
  }
}

fs::path directory_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

constexpr const char* kTemporary = ".tmp.";  // then the process's number and a counter

bool is_temporary(const std::string& name) {
  const std::size_t at = name.rfind(kTemporary);
  if (at == std::string::npos) return false;
  const std::string numbers = name.substr(at + std::strlen(kTemporary));
  const std::size_t dot = numbers.find('.');
  return dot != std::string::npos && dot > 0 && dot + 1 < numbers.size() &&
         numbers.find_first_not_of("0123456789") == dot &&
         numbers.find_first_not_of("0123456789", dot + 1) == std::string::npos;
}

fs::path temporary_name(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  fs::path name = path;
  name += kTemporary + std::to_string(::getpid()) + "." + std::to_string(counter++);
  return name;
}

// The temporary file, new and open.
Descriptor create(Temporary& temporary, const fs::path& path) {
  Descriptor file(::open(temporary.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (file.get() < 0) {
    const int error = errno;
    temporary.renamed = true;  // nothing of ours to delete
    fail_write(path, directory_of(path), error);
  }
  return file;
}

// Zero, or the error that stopped it.
int write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return 0;
}

}  // namespace

void write_atomically(const fs::path& path, std::span<const std::byte> bytes) {
  write_atomically(path, std::span(&bytes, 1));
}

void write_atomically(const fs::path& path, std::span<const std::span<const std::byte>> parts) {
  const fs::path directory = directory_of(path);
  Temporary temporary{temporary_name(path)};
  Descriptor file = create(temporary, path);
  for (const std::span<const std::byte> part : parts) {
    if (const int error = write_all(file.get(), part)) fail_write(path, directory, error);
  }
  if (::fsync(file.get()) != 0) fail_write(path, directory, errno);
  if (!file.close()) fail_write(path, directory, errno);
  if (::rename(temporary.path.c_str(), path.c_str()) != 0) fail_write(path, directory, errno);
  temporary.renamed = true;
  sync_directory(directory);
}

void sync_directory(const fs::path& directory) {
  // Some file systems cannot sync a directory (EINVAL); then names are as durable as they make
  // them.
  Descriptor file(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() >= 0 && ::fsync(file.get()) != 0 && errno != EINVAL) {
    throw IoError(directory.string() + ": cannot be written: " + reason(errno));
  }
}

int open_own_file(const fs::path& path, int flags) {
  // Without O_NONBLOCK a FIFO would wait for its reader.
  const int fd = ::open(path.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);
  if (fd < 0 && errno == ELOOP) {
    throw UserError(path.string() +
                    ": is a symbolic link, which is not followed when it is written: remove it");
  }
  if (fd < 0) fail_write(path, directory_of(path), errno);
  struct stat status {};
  if (::fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) return fd;
  ::close(fd);
  throw UserError(path.string() + ": expected a regular file to write to: remove what is there");
}

void check_writable(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) fail_write(path, directory_of(path), EISDIR);
  Temporary temporary{temporary_name(path)};
  create(temporary, path);
}

void remove_temporaries(const fs::path& directory) {
  std::error_code ignored;
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(directory, ignored)) {
    if (is_temporary(entry.path().filename().string())) left.push_back(entry.path());
  }
  for (const fs::path& path : left) fs::remove(path, ignored);
}

void write_atomically(const fs::path& path, std::string_view text) {
  write_atomically(path, std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace mixflow
