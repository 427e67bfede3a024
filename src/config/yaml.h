// A YAML document as a plain tree in which every key and value knows where it stands. Built from
// yaml-cpp's events rather than its nodes, because those drop duplicate keys and the places of
// keys.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mixflow {

// Where something was written: "configs/adam.yaml:14:7", or "-s inner.steps=5" (line 0) for an
// override.
struct TextPlace {
  std::shared_ptr<const std::string> source;
  int line = 0;    // from 1
  int column = 0;  // from 1, in bytes
  std::string text() const;
};

// Throws UserError "<place>: <path>: <message>"; without "<path>: " where the path is empty.
[[noreturn]] void fail_at(const TextPlace& place, std::string_view path,
                          const std::string& message);

struct YamlEntry;

struct YamlNode {
  enum class Kind : unsigned char { null, scalar, list, map };
  Kind kind = Kind::null;
  TextPlace place;                 // of a null: its key's
  std::string text;                // scalar
  bool quoted = false;             // scalar: never a number, truth value or null
  std::vector<YamlNode> items;     // list
  std::vector<YamlEntry> entries;  // map, in the order written; keys are unique
  YamlEntry* find(std::string_view key);
  const YamlEntry* find(std::string_view key) const;
};

struct YamlEntry {
  std::string key;
  TextPlace place;
  YamlNode value;
};

// The path of a key below `path` ("" at the top), and of the list item `index`.
std::string child_path(std::string_view path, std::string_view key);
std::string item_path(std::string_view path, std::size_t index);

// What a document is, for messages.
struct DocumentKind {
  std::string_view name = "config";
  std::string_view needs = "at least data, model and meta";
  std::string_view sections = "\"data:\" and \"meta:\"";
};

// Parses one document whose top is a map. `name` stands for the file in messages. Aliases are
// replaced by copies and merge keys (<<) by what they merge. Throws UserError with line and column
// for what is not one well-formed document: bad UTF-8, syntax, duplicate keys, tags, several
// documents, more than 32 levels, 10,000 values or 4 MiB of text once aliases are expanded.
YamlNode parse_document(const std::string& text, const std::string& name,
                        const DocumentKind& kind = {});

// Parses the value of an override; every node's place is `place`, and errors start with it and
// `path`.
YamlNode parse_value(const std::string& text, const TextPlace& place, const std::string& path);

// The node in YAML's flow style, on one line; it reads back as the same node.
std::string flow_text(const YamlNode& node);

}  // namespace mixflow
