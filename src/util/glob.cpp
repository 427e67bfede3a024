#include "util/glob.h"

#include <glob.h>

#include <algorithm>
#include <cstring>

#include "util/error.h"

namespace mixflow {

bool has_wildcards(const std::string& path) {
  return path.find_first_of("*?[") != std::string::npos;
}

std::vector<std::string> glob_paths(const std::string& pattern) {
  glob_t found{};
  const int status = ::glob(pattern.c_str(), GLOB_ERR | GLOB_NOSORT, nullptr, &found);
  std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (status == GLOB_ABORTED) throw UserError(pattern + ": a directory may not be read");
  if (status == GLOB_NOSPACE) throw RunError(pattern + ": too many files for the memory");
  std::ranges::sort(paths);  // by bytes, whatever the locale
  return paths;
}

}  // namespace mixflow
