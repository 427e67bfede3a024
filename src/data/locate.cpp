#include "data/locate.h"

#include <filesystem>

#include "config/load.h"
#include "data/array.h"
#include "util/error.h"

namespace mixflow {

namespace fs = std::filesystem;

namespace {

// Data sets of scripts/fetch_data.sh: <set>_x.npy, <set>_y.npy, or the files of the folder text.
std::string how_to_fetch(const fs::path& file) {
  std::string set;
  for (const char* name : {"digits", "mnist"}) {
    if (file.filename().string().find(name) != std::string::npos) set = name;
  }
  if (file.filename() == "text" || file.parent_path().filename() == "text") set = "text";
  return set.empty() ? "" : "; scripts/fetch_data.sh " + set + " fetches it";
}

}  // namespace

const std::string& existing(const std::string& path, const Config& config, const char* key) {
  const std::string file = split_member(path).first;
  std::error_code ignored;
  if (fs::exists(file, ignored)) return path;
  fail_missing(file, config, key);
}

void fail_missing(const std::string& file, const Config& config, std::string_view key) {
  const fs::path directory = fs::path(config.file).parent_path();
  const bool elsewhere = fs::path(file).is_relative() && !directory.empty();
  throw UserError(origin(config, key) + ": " + file + ": no such file" +
                  (elsewhere ? ", nor " + (directory / file).string() : std::string()) +
                  how_to_fetch(file));
}

}  // namespace mixflow
