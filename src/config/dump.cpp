// The resolved configuration as YAML, from the schema.
#include <string>
#include <variant>
#include <vector>

#include "config/load.h"
#include "config/schema.h"
#include "util/text.h"

namespace mixflow {
namespace {

// Whether YAML reads the bare word back as this very text.
bool is_plain(const std::string& text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (text.empty() || !(letter(text[0]) || text[0] == '/' || text[0] == '_')) return false;
  for (const char c : text) {
    const bool safe =
        letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == '/';
    if (!safe) return false;
  }
  for (const std::string_view word : {"null", "Null", "NULL", "true", "True", "TRUE", "false",
                                      "False", "FALSE", "yes", "no", "on", "off", "y", "n"}) {
    if (text == word) return false;
  }
  return true;
}

struct Text {
  std::string operator()(std::monostate) const { return "null"; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const {
    std::string text = number_text(value);
    // YAML 1.1 readers take 1e-08 for text, but 1.0e-08 for a number.
    const std::size_t exponent = text.find('e');
    if (exponent != std::string::npos && text.find('.') == std::string::npos) {
      text.insert(exponent, ".0");
    }
    return text;
  }
  std::string operator()(const std::string& value) const {
    return is_plain(value) ? value : in_quotes(value, std::string::npos);
  }
  std::string operator()(const std::vector<std::int64_t>& values) const {
    std::string text;
    for (const std::int64_t value : values) {
      text += (text.empty() ? "" : ", ") + std::to_string(value);
    }
    return "[" + text + "]";
  }
  std::string operator()(const std::vector<std::string>& values) const {
    if (values.size() == 1) return (*this)(values[0]);
    std::string text;
    for (const std::string& value : values) text += (text.empty() ? "" : ", ") + (*this)(value);
    return "[" + text + "]";
  }
  std::string operator()(const Range& range) const {
    return "[" + (*this)(range[0]) + ", " + (*this)(range[1]) + "]";
  }
};

void dump_keys(const std::vector<Key>& keys, void* owner, std::size_t indent, std::string& out) {
  const Key* kind_key = find_kind(keys);
  const std::string kind = kind_key ? std::get<std::string>(kind_key->get(owner)) : "";
  const std::string margin(indent, ' ');
  for (const Key& key : keys) {
    if (!key.applies_to(kind)) continue;
    if (const auto* section = std::get_if<SectionType>(&key.type)) {
      out += margin + key.name + ":\n";
      dump_keys(section->keys, section->at(owner), indent + 2, out);
    } else if (const auto* list = std::get_if<ListType>(&key.type)) {
      out += margin + key.name + ":\n";
      for (std::size_t i = 0; i < list->size(owner); ++i) {
        const std::size_t start = out.size();
        dump_keys(list->keys, list->at(owner, i), indent + 4, out);
        out[start + indent + 2] = '-';
      }
    } else if (const ConfigValue value = key.get(owner); !is_unset_text(value)) {
      out += margin + key.name + ": " + yaml_text(value) + "\n";
    }
  }
}

}  // namespace

std::string yaml_text(const ConfigValue& value) { return std::visit(Text{}, value); }

bool is_unset_text(const ConfigValue& value) {
  if (const auto* texts = std::get_if<std::vector<std::string>>(&value)) return texts->empty();
  const auto* text = std::get_if<std::string>(&value);
  return text != nullptr && text->empty();
}

std::string dump_config(const Config& config) {
  std::string out;
  Config copy = config;  // sections are reached through mutable structs
  dump_keys(schema(), &copy, 0, out);
  return out;
}

}  // namespace mixflow
