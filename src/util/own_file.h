// Files that grow in place, and the directories that hold them.
#pragma once

#include <filesystem>

namespace mixflow {

// Has what was created, renamed or deleted in a directory reach the disk. RunError if the disk
// fails; some file systems cannot, which is no error.
void sync_directory(const std::filesystem::path& directory);

// Opens a file for writing that may exist already, without following a symbolic link and only if it
// is a regular file: the descriptor, to be closed by the caller. `flags` as open(2), O_CREAT
// included. UserError for a link and the like or where it may not be written, RunError for a
// failing disk.
int open_own_file(const std::filesystem::path& path, int flags);

}  // namespace mixflow
