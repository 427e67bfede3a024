#include "config/override.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "config/read.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::size_t kMaxDepth = 32;

// a.b[2].c -> a b 2 c
std::vector<std::string> segments(std::string path) {
  std::string dotted;
  for (const char c : path) {
    if (c == '[')
      dotted += '.';
    else if (c != ']')
      dotted += c;
  }
  std::vector<std::string> parts;
  for (const std::string_view part : split(dotted, '.')) parts.emplace_back(part);
  return parts;
}

bool has_gap(const std::vector<std::string>& parts) {
  return std::ranges::any_of(parts, [](const auto& part) { return part.empty(); });
}

YamlNode& list_item(YamlNode& list, const std::string& segment, const TextPlace& place,
                    const std::string& path) {
  std::size_t index = 0;
  const char* end = segment.data() + segment.size();
  const auto result = std::from_chars(segment.data(), end, index);
  if (result.ec != std::errc() || result.ptr != end || index >= list.items.size()) {
    fail_at(place, path,
            "is a list of " + std::to_string(list.items.size()) +
                "; name an item by its number, from 0, or set the whole list");
  }
  return list.items[index];
}

// The node at one segment below `node`, made if its section lacks it.
YamlNode& descend(YamlNode& node, const std::string& segment, const TextPlace& place,
                  std::string& path) {
  if (node.kind == YamlNode::Kind::list) {
    YamlNode& item = list_item(node, segment, place, path);
    path += "[" + segment + "]";
    return item;
  }
  if (node.kind == YamlNode::Kind::scalar) {
    fail_at(place, path,
            "holds " + found_text(node) + " and has no keys; set it whole or mend the path");
  }
  if (node.kind == YamlNode::Kind::null) {
    node.kind = YamlNode::Kind::map;
    node.place = place;
  }
  path = child_path(path, segment);
  YamlEntry* entry = node.find(segment);
  if (entry == nullptr) {
    YamlNode empty;
    empty.place = place;
    node.entries.push_back({segment, place, empty});
    entry = &node.entries.back();
  }
  return entry->value;
}

}  // namespace

void apply_override(YamlNode& root, const std::string& text) {
  const TextPlace place{std::make_shared<const std::string>("-s " + text), 0, 0};
  const std::size_t equals = text.find('=');
  const std::string written = text.substr(0, equals);
  if (equals == std::string::npos || has_gap(segments(written))) {
    fail_at(place, "", "expected key.path=value, such as -s inner.steps=5");
  }
  YamlNode value = parse_value(text.substr(equals + 1), place, written);
  value.place = place;
  apply_setting(root, written, place, std::move(value));
}

void apply_setting(YamlNode& root, const std::string& path, const TextPlace& place,
                   YamlNode value) {
  const std::vector<std::string> parts = segments(path);
  if (has_gap(parts)) {
    fail_at(place, "", "expected the path of a key, such as inner.steps, got " + in_quotes(path));
  }
  if (parts.size() > kMaxDepth) {
    fail_at(place, "", "no key lies deeper than " + std::to_string(kMaxDepth) + " levels");
  }
  std::string walked;
  YamlNode* node = &root;
  for (const std::string& part : parts) node = &descend(*node, part, place, walked);
  *node = std::move(value);
}

}  // namespace mixflow
