// File names with wildcards, as shells have them: *, ? and [..] within one part of a path.
#pragma once

#include <string>
#include <vector>

namespace mixflow {

// Whether `path` has wildcards.
bool has_wildcards(const std::string& path);

// What is there by the pattern, in the order of names; * and ? match no leading dot. Empty if there
// is nothing. UserError for directories that may not be read.
std::vector<std::string> glob_paths(const std::string& pattern);

}  // namespace mixflow
