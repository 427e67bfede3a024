// A file that grows record by record while a run goes on: lines of text, or binary records.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace mixflow {

// What was appended after the last checkpoint is cut off on resume.
class AppendFile {
 public:
  // Opens for appending, cut to `keep_bytes` first. Throws RunError.
  AppendFile(const std::filesystem::path& path, std::int64_t keep_bytes);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void append(std::string_view record);  // as it is, a line with its newline; buffered
  // Hands all records to the disk and returns the file's size.
  std::int64_t sync();

 private:
  void write_buffer();

  std::filesystem::path path_;
  int fd_ = -1;
  std::int64_t bytes_ = 0;
  std::string buffer_;
};

}  // namespace mixflow
