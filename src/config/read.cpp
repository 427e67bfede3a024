#include "config/read.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "config/schema.h"
#include "util/text.h"

namespace mixflow {
namespace {

using Kind = YamlNode::Kind;

// Reads one value; everything that goes wrong ends in `fail`.
class Reader {
 public:
  Reader(const Key& key, const std::string& path, const ConfigValue& fallback)
      : key_(key), path_(path), fallback_(fallback) {}

  [[noreturn]] void fail(const YamlNode& node) const { fail(node, path_, key_.type, ""); }

  // `path` and `type` are those of an item where the key holds several.
  [[noreturn]] void fail(const YamlNode& node, const std::string& path, const KeyType& type,
                         const std::string& more) const {
    fail_at(
        node.place, path,
        "expected " + expectation(type) + ", got " + found_text(node) + more + " (" + hint() + ")");
  }

  ConfigValue operator()(const TruthType&, const YamlNode& node) const {
    if (node.kind == Kind::scalar && !node.quoted) {
      if (node.text == "true" || node.text == "True" || node.text == "TRUE") return true;
      if (node.text == "false" || node.text == "False" || node.text == "FALSE") return false;
    }
    fail(node);
  }

  ConfigValue operator()(const IntegerType& type, const YamlNode& node) const {
    return integer(node, path_, type);
  }

  ConfigValue operator()(const NumberType& type, const YamlNode& node) const {
    return number(node, path_, type);
  }

  ConfigValue operator()(const TextType& type, const YamlNode& node) const {
    if (node.kind != Kind::scalar || node.text.empty()) fail(node);
    const auto is_word = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '.' || c == '_' || c == '-';
    };
    const bool bad_word = type.form == TextType::Form::word &&
                          (!std::ranges::all_of(node.text, is_word) || node.text[0] == '.' ||
                           node.text[0] == '-' || node.text.size() > 100);
    if (bad_word) fail(node);
    return node.text;
  }

  ConfigValue operator()(const TextsType& type, const YamlNode& node) const {
    const auto is_text = [](const YamlNode& item) {
      return item.kind == Kind::scalar && !item.text.empty();
    };
    if (is_text(node)) return std::vector<std::string>{node.text};
    if (node.kind != Kind::list) fail(node);
    std::vector<std::string> values;
    for (const YamlNode& item : node.items) {
      if (!is_text(item)) fail(item, item_path(path_, values.size()), TextType{type.form}, "");
      values.push_back(item.text);
    }
    if (values.empty() && key_.required) fail(node);
    return values;
  }

  ConfigValue operator()(const ChoiceType& type, const YamlNode& node) const {
    if (node.kind != Kind::scalar) fail(node);
    if (std::ranges::find(type.names, node.text) != type.names.end()) return node.text;
    const std::string_view near = nearest(node.text, type.names);
    if (near.empty()) fail(node);
    fail_at(node.place, path_,
            "unknown value " + in_quotes(node.text) + ", did you mean " + std::string(near) +
                "? (" + expectation(key_.type) + ")");
  }

  ConfigValue operator()(const RangeType& type, const YamlNode& node) const {
    if (node.kind != Kind::list || node.items.size() != 2) fail(node);
    const Range range{number(node.items[0], item_path(path_, 0), {type.each}),
                      number(node.items[1], item_path(path_, 1), {type.each})};
    if (range[0] > range[1]) {
      fail_at(node.place, path_,
              "the low end " + number_text(range[0]) + " lies above the high end " +
                  number_text(range[1]) + "; swap them");
    }
    return range;
  }

  ConfigValue operator()(const IntegersType& type, const YamlNode& node) const {
    if (node.kind != Kind::list) fail(node);
    std::vector<std::int64_t> values;
    for (const YamlNode& item : node.items) {
      values.push_back(integer(item, item_path(path_, values.size()), {type.low, type.high}));
    }
    return values;
  }

  ConfigValue operator()(const SectionType&, const YamlNode& node) const { fail(node); }
  ConfigValue operator()(const ListType&, const YamlNode& node) const { fail(node); }

 private:
  std::string hint() const {
    std::string text = key_.doc;
    if (!key_.unit.empty()) text += ", in " + key_.unit;
    if (!std::holds_alternative<std::monostate>(fallback_) && !is_unset_text(fallback_)) {
      text += "; default " + yaml_text(fallback_);
    }
    return text;
  }

  double number(const YamlNode& node, const std::string& path, const NumberType& type) const {
    const PlainNumber number = plain_number(node);
    if (number.state == PlainNumber::State::too_large) {
      fail(node, path, type, ", which is outside the range of a double");
    }
    if (number.state == PlainNumber::State::text) {
      const bool quotes =
          node.quoted && parse_number(node.text).state == PlainNumber::State::number;
      fail(node, path, type, quotes ? ", which is text; remove the quotes" : "");
    }
    if (!type.in.contains(number.value)) {
      fail(node, path, type, std::isfinite(number.value) ? "" : ", which is not finite");
    }
    return number.value;
  }

  [[noreturn]] void fail_large(const YamlNode& node, const std::string& path,
                               const IntegerType& type) const {
    fail(node, path, type, ", which is more than " + std::to_string(type.high));
  }

  // 1e4 and 3.0 are integers too.
  std::int64_t integer(const YamlNode& node, const std::string& path,
                       const IntegerType& type) const {
    const PlainNumber number = plain_number(node);
    if (const auto digits = plain_integer(node)) {
      if (*digits > type.high) fail_large(node, path, type);
      if (*digits >= type.low) return *digits;
    }
    const bool too_large = number.state == PlainNumber::State::too_large ||
                           (number.state == PlainNumber::State::number &&
                            number.value > static_cast<double>(type.high));
    if (too_large) fail_large(node, path, type);
    const bool fits = number.state == PlainNumber::State::number &&
                      number.value >= static_cast<double>(type.low) &&
                      number.value == std::floor(number.value);
    if (!fits) fail(node, path, type, "");
    return static_cast<std::int64_t>(number.value);
  }

  const Key& key_;
  const std::string& path_;
  const ConfigValue& fallback_;
};

}  // namespace

ConfigValue read_value(const Key& key, const YamlNode& node, const std::string& path,
                       const ConfigValue& fallback) {
  if (node.kind == Kind::null && key.nullable) return {};
  const Reader reader(key, path, fallback);
  return std::visit([&](const auto& type) { return reader(type, node); }, key.type);
}

}  // namespace mixflow
