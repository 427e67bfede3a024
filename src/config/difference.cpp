// Where two dumped configurations differ.
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "config/load.h"
#include "config/yaml.h"
#include "util/text.h"

namespace mixflow {
namespace {

// The paths of a dump's keys, line by line.
class Paths {
 public:
  // The path of the key on `line`, which follows those given before.
  std::string next(std::string_view line) {
    std::size_t indent = std::min(line.find_first_not_of(' '), line.size());
    const bool item = line.substr(indent).starts_with("- ");
    leave(indent);
    if (item) {
      open_.push_back({indent, item_path("", items_++)});
      indent += 2;
    }
    const std::string key(line.substr(indent, line.find(':', indent) - indent));
    const std::string path = child_path(around(), key);
    if (line.ends_with(':')) {
      open_.push_back({indent, "." + key});
      items_ = 0;
    }
    return path;
  }

 private:
  struct Open {
    std::size_t indent;
    std::string name;  // .key or [item]
  };

  void leave(std::size_t indent) {
    while (!open_.empty() && open_.back().indent >= indent) open_.pop_back();
  }

  std::string around() const {
    std::string path;
    for (const Open& open : open_) path += open.name;
    return path.empty() ? path : path.substr(1);
  }

  std::vector<Open> open_;
  std::size_t items_ = 0;  // of the innermost list so far
};

std::string_view without_indent(std::string_view line) {
  return line.substr(std::min(line.find_first_not_of(" -"), line.size()));
}

}  // namespace

std::string first_difference(const std::string& was, const std::string& is) {
  const std::vector<std::string_view> a = split(was, '\n'), b = split(is, '\n');
  Paths paths;
  for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const std::string_view line_a = i < a.size() ? a[i] : "", line_b = i < b.size() ? b[i] : "";
    const std::string path = paths.next(line_a.empty() ? line_b : line_a);
    if (line_a != line_b) {
      return path + ": it had \"" + std::string(without_indent(line_a)) + "\", now \"" +
             std::string(without_indent(line_b)) + "\"";
    }
  }
  return "";
}

}  // namespace mixflow
