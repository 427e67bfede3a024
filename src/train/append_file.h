// A file that only grows while a run goes on: whole records are appended, and what was written
// after the last checkpoint is cut off when the run resumes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "util/content_hash.h"

namespace mixflow {

// How far a file had got, and the hash of all that was in it.
struct FileMark {
  std::int64_t bytes = 0;
  std::string hash;  // util/content_hash.h; "" where there was nothing
};

class AppendFile {
 public:
  // Opens for appending, cut to what `keep` says first. Throws UserError for a file that is a
  // symbolic link, or that does not begin as `keep` says: it is another run's; and RunError.
  AppendFile(const std::filesystem::path& path, const FileMark& keep);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void append(std::string_view record);  // as it is, a line with its newline; buffered
  // Hands all records to the system, from where every reader sees them.
  void flush();
  // Hands all records to the disk.
  FileMark sync();

 private:
  void take_over(const FileMark& keep);

  std::filesystem::path path_;
  int fd_ = -1;
  std::int64_t bytes_ = 0;
  ContentHash hash_;
  std::string buffer_;
};

}  // namespace mixflow
