// Whole files, read at once (input_file.h) and written so that a crash or a full disk never leaves
// half of one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "util/input_file.h"

namespace mixflow {

// Replaces `path` by `bytes`: whoever looks, now or after a crash, sees the old file or the new
// one, whole. The bytes go to a temporary name in the same directory, reach the disk, and are
// renamed; then the directory reaches the disk. Directories are not created. UserError for a
// directory that is missing or may not be written, RunError for a full or failing disk; either way
// the old file is untouched and no temporary file stays.
void write_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_atomically(const std::filesystem::path& path, std::string_view text);
// Parts that follow each other in the file.
void write_atomically(const std::filesystem::path& path,
                      std::span<const std::span<const std::byte>> parts);

// Whether write_atomically could write there now: throws what it would, and changes nothing.
void check_writable(const std::filesystem::path& path);

// Deletes the temporary files that killed processes have left in `directory`, where nobody may be
// writing. What cannot be deleted stays.
void remove_temporaries(const std::filesystem::path& directory);

}  // namespace mixflow
