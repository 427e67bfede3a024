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

constexpr std::size_t kMaxKeyDepth = 32;

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

std::vector<std::string> path_segments(const std::string& path) {
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

bool path_holds(const std::string& outer, const std::string& inner) {
  const std::vector<std::string> around = path_segments(outer), key = path_segments(inner);
  return around.size() <= key.size() && std::equal(around.begin(), around.end(), key.begin());
}

bool value_holds(const std::string& outer, const YamlNode& value, const std::string& inner) {
  const std::vector<std::string> key = path_segments(inner);
  const YamlNode* node = &value;
  for (std::size_t i = path_segments(outer).size(); i < key.size(); ++i) {
    if (node->kind == YamlNode::Kind::list) {
      std::size_t index = 0;
      const char* end = key[i].data() + key[i].size();
      const auto result = std::from_chars(key[i].data(), end, index);
      if (result.ec != std::errc() || index >= node->items.size()) return false;
      node = &node->items[index];
    } else {
      const YamlEntry* entry = node->find(key[i]);
      if (entry == nullptr) return false;
      node = &entry->value;
    }
  }
  return true;
}

std::vector<std::string> apply_overrides(YamlNode& root, std::span<const std::string> texts) {
  std::vector<std::string> idle;
  const auto path_of = [](const std::string& text) { return text.substr(0, text.find('=')); };
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string path = path_of(texts[i]);
    for (std::size_t j = 0; j < i; ++j) {
      const std::string before = path_of(texts[j]);
      if (!path_holds(path, before)) continue;
      if (path_holds(before, path)) {
        idle.push_back("-s " + texts[j] + ": has no effect, because -s " + texts[i] + " follows");
      } else {
        fail_at({std::make_shared<const std::string>("-s " + texts[i]), 0, 0}, path,
                "sets the whole section and would drop " + before + ", set before by -s " +
                    texts[j] + "; give the section first, then its keys");
      }
    }
    apply_override(root, texts[i]);
  }
  return idle;
}

void apply_override(YamlNode& root, const std::string& text) {
  const TextPlace place{std::make_shared<const std::string>("-s " + text), 0, 0};
  const std::size_t equals = text.find('=');
  const std::string written = text.substr(0, equals);
  if (equals == std::string::npos || has_gap(path_segments(written))) {
    fail_at(place, "", "expected key.path=value, such as -s inner.steps=5");
  }
  YamlNode value = parse_value(text.substr(equals + 1), place, written);
  value.place = place;
  apply_setting(root, written, place, std::move(value));
}

void apply_setting(YamlNode& root, const std::string& path, const TextPlace& place,
                   YamlNode value) {
  const std::vector<std::string> parts = path_segments(path);
  if (has_gap(parts)) {
    fail_at(place, "", "expected the path of a key, such as inner.steps, got " + in_quotes(path));
  }
  if (parts.size() > kMaxKeyDepth) {
    fail_at(place, "", "no key lies deeper than " + std::to_string(kMaxKeyDepth) + " levels");
  }
  std::string walked;
  YamlNode* node = &root;
  for (const std::string& part : parts) node = &descend(*node, part, place, walked);
  *node = std::move(value);
}

}  // namespace mixflow
