#include "config/plain.h"

#include <charconv>
#include <limits>
#include <system_error>

#include "util/text.h"

namespace mixflow {
namespace {

using Kind = YamlNode::Kind;
using State = PlainNumber::State;

}  // namespace

PlainNumber parse_number(std::string_view text) {
  const bool minus = text.starts_with('-');
  if (minus || text.starts_with('+')) text.remove_prefix(1);
  PlainNumber number;
  if (text == ".inf" || text == ".Inf" || text == ".INF") {
    number = {State::number, std::numeric_limits<double>::infinity()};
  } else if (text == ".nan" || text == ".NaN" || text == ".NAN") {
    number = {State::number, std::numeric_limits<double>::quiet_NaN()};
  } else if (!text.empty() && text.find_first_not_of("0123456789.eE+-") == std::string_view::npos &&
             text[0] != '+' && text[0] != '-') {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number.value);
    if (end != text.data() + text.size()) return {};
    number.state = error == std::errc::result_out_of_range ? State::too_large
                   : error == std::errc()                  ? State::number
                                                           : State::text;
  }
  if (minus) number.value = -number.value;
  return number;
}

PlainNumber plain_number(const YamlNode& node) {
  return node.kind == Kind::scalar && !node.quoted ? parse_number(node.text) : PlainNumber{};
}

std::optional<std::int64_t> plain_integer(const YamlNode& node) {
  if (node.kind != Kind::scalar || node.quoted) return std::nullopt;
  std::string_view text = node.text;
  if (text.starts_with('+')) text.remove_prefix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string found_text(const YamlNode& node) {
  switch (node.kind) {
    case Kind::null:
      return "nothing";
    case Kind::list:
      return node.items.empty() ? "an empty list"
                                : "a list of " + std::to_string(node.items.size());
    case Kind::map:
      return "a section";
    case Kind::scalar:
      break;
  }
  const bool bare = plain_number(node).state != State::text ||
                    (!node.quoted && (node.text == "true" || node.text == "false"));
  return bare && node.text.size() <= 40 ? node.text : in_quotes(node.text);
}

}  // namespace mixflow
