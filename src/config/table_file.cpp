#include "config/table_file.h"

#include <algorithm>
#include <cctype>

namespace mixflow {

bool is_table_file(const std::string& path) {
  std::string name = path;
  std::ranges::transform(name, name.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name.ends_with(".gz")) name.resize(name.size() - 3);
  for (const char* ending : {".csv", ".tsv", ".data", ".dat"}) {
    if (name.ends_with(ending)) return true;
  }
  return false;
}

}  // namespace mixflow
