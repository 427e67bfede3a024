// The files that a list of names, patterns and directories stands for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace mixflow {

// Files that were found and not taken, by the reason.
struct SkippedFiles {
  std::string reason;  // hidden, binary, empty, ..
  std::int64_t count = 0;
  std::string example;  // the first of them
};

// "2 hidden (.git, ..), 1 empty (b.txt)".
std::string to_string(const std::vector<SkippedFiles>& left_out);

struct FoundFiles {
  std::vector<std::string> paths;  // as messages name them, each file once
  std::vector<SkippedFiles> left_out;   // in the order of their reasons' first files
};

struct FileSearch {
  std::string key;  // data.path, which the list is the value of; for messages
  const std::vector<std::string>& list;
  // What a directory's or a pattern's files must end with; empty: anything but binary files.
  std::vector<std::string_view> extensions;
  const std::vector<std::string>* taken =
      nullptr;           // files of other keys, which are not found again
  std::string taken_by;  // what those keys are called
};

// In the order of the list; what a directory (with its subdirectories) or a pattern stands for, in
// the order of names. A file that is named is taken as it is. Among files that are found, those are
// left out that are hidden or in hidden directories, empty, or `taken`, or of another extension or,
// if there are no extensions, binary: with NUL bytes at the beginning, or of a format with a known
// signature. Links are followed to files inside the directory they were found in, each file once.
// Throws UserError where a name leads nowhere, a list is of no files, a directory may not be
// listed, or a named file is `taken`.
FoundFiles find_files(const FileSearch& search, const Config& config);

}  // namespace mixflow
