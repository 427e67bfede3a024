// What stands in a YAML node, before any key says what it should be.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/yaml.h"

namespace mixflow {

struct PlainNumber {
  enum class State : std::uint8_t { number, text, too_large } state = State::text;
  double value = 0;
};

// YAML 1.2's decimal numbers, .inf and .nan; hexadecimal and the like are text here.
PlainNumber parse_number(std::string_view text);

// Of a scalar without quotes; anything else is text.
PlainNumber plain_number(const YamlNode& node);

// An integer written in digits: a double would round large ones to their neighbours.
std::optional<std::int64_t> plain_integer(const YamlNode& node);

// For messages: 3, "fast", a list, nothing, ..
std::string found_text(const YamlNode& node);

}  // namespace mixflow
