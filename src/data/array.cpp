#include "data/array.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "data/csv.h"
#include "data/npy.h"
#include "data/zip.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {

namespace fs = std::filesystem;

namespace {

std::string position(const Array& array, std::int64_t index) {
  const std::int64_t width = array.width();
  std::string text = "row " + std::to_string(index / width);
  if (array.shape.size() > 1) text += ", column " + std::to_string(index % width);
  return text + " (from 0)";
}

}  // namespace

std::int64_t Array::width() const {
  std::int64_t width = 1;
  for (std::size_t axis = 1; axis < shape.size(); ++axis) width *= shape[axis];
  return width;
}

std::pair<std::string, std::string> split_member(const std::string& path) {
  const std::size_t at = path.rfind(".npz:");
  if (at == std::string::npos) return {path, ""};
  return {path.substr(0, at + 4), path.substr(at + 5)};
}

Array read_array(const std::string& path) {
  const auto [file, member] = split_member(path);
  const std::string extension = fs::path(file).extension().string();
  if (extension == ".npy") return parse_npy(read_file(file), path);
  if (extension == ".csv") return parse_csv(read_text(file), path).numbers;
  if (extension == ".npz") {
    const std::vector<std::byte> archive = read_file(file);
    return parse_npy(read_zip_member(archive, file, member), path);
  }
  throw UserError(path + ": expected a .npy, .npz:member or .csv file" +
                  (extension.empty() ? "" : ", found " + extension));
}

void check_finite(const Array& array) {
  const auto bad = std::find_if(array.values.begin(), array.values.end(),
                                [](double v) { return !std::isfinite(v); });
  if (bad == array.values.end()) return;
  const char* what = std::isnan(*bad) ? "nan" : *bad > 0 ? "inf" : "-inf";
  throw UserError(array.name + ": " + what + " at " + position(array, bad - array.values.begin()) +
                  " of " + array.type() + "; every value must be finite");
}

}  // namespace mixflow
