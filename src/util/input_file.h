// Inputs from disk: regular files and nothing else. A pipe or a device may block or never end, and
// no input of mixflow is one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mixflow {

// The most bytes that a kind of file may have.
struct SizeLimit {
  std::int64_t bytes = 0;
  std::string_view kind;  // "config": for the message
};

// A regular file, open for reading.
class InputFile {
 public:
  // Never blocks. UserError for what does not exist, may not be read, or is a directory, pipe,
  // socket or device; RunError if the disk fails.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  InputFile(const InputFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int descriptor() const { return fd_; }
  std::int64_t bytes() const { return bytes_; }  // when it was opened; 0 for files of /proc

  // UserError if it is larger: by default than the memory that this process may use.
  void check_size(std::optional<SizeLimit> limit = {}) const;
  // Fills `out` with what begins at byte `offset`. UserError where the file ends before.
  void read(std::int64_t offset, std::span<std::byte> out) const;
  // As many bytes as there are, up to those of `out`.
  std::size_t read_some(std::int64_t offset, std::span<std::byte> out) const;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  std::int64_t bytes_ = 0;
};

// All bytes of a file. Throws what InputFile throws, and UserError for a file beyond the limit,
// which is found before anything is read.
std::vector<std::byte> read_file(const std::filesystem::path& path,
                                 std::optional<SizeLimit> limit = {});
std::string read_text(const std::filesystem::path& path, std::optional<SizeLimit> limit = {});

}  // namespace mixflow
