#include "config/key.h"

#include <algorithm>
#include <cmath>

#include "util/text.h"

namespace mixflow {
namespace {

std::string describe(const Interval& in) {
  const bool low = std::isfinite(in.low), high = std::isfinite(in.high);
  if (low && high) {
    return std::string(" in ") + (in.low_open ? "(" : "[") + number_text(in.low) + ", " +
           number_text(in.high) + (in.high_open ? ")" : "]");
  }
  if (low) return (in.low_open ? " > " : " >= ") + number_text(in.low);
  if (high) return (in.high_open ? " < " : " <= ") + number_text(in.high);
  return "";
}

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

}  // namespace

bool Interval::contains(double x) const {
  if (std::isnan(x) || (std::isinf(x) && !infinite)) return false;
  return (low_open ? x > low : x >= low) && (high_open ? x < high : x <= high);
}

bool Key::applies_to(std::string_view kind) const {
  return kinds.empty() || std::ranges::find(kinds, kind) != kinds.end();
}

Key& Key::when(std::initializer_list<std::string_view> only_under_kinds) {
  kinds = only_under_kinds;
  return *this;
}

Key& Key::in(std::string_view unit_name) {
  unit = unit_name;
  return *this;
}

Key& Key::also(std::initializer_list<std::string_view> words) {
  others = words;
  return *this;
}

Key& Key::must() {
  required = true;
  return *this;
}

Key& Key::otherwise(ConfigValue value) {
  fallback = std::move(value);
  return *this;
}

const Key* find_kind(std::span<const Key> keys) {
  const auto found = std::ranges::find(keys, "kind", &Key::name);
  return found == keys.end() ? nullptr : &*found;
}

std::string expectation(const KeyType& type) {
  return std::visit(
      Overloaded{
          [](const TruthType&) -> std::string { return "true or false"; },
          [](const IntegerType& t) { return "an integer >= " + std::to_string(t.low); },
          [](const NumberType& t) { return "a number" + describe(t.in); },
          [](const TextType& t) -> std::string {
            if (t.form == TextType::Form::word) {
              return "a name of letters, digits, \".\", \"_\" and \"-\"";
            }
            if (t.form == TextType::Form::column) return "a column's name or number";
            return t.form == TextType::Form::path ? "a file name" : "text";
          },
          [](const TextsType& t) -> std::string {
            return t.form == TextType::Form::path ? "a file name or a list of them"
                                                  : "a column's name or number or a list of them";
          },
          [](const ChoiceType& t) { return "one of " + join(t.names, ", "); },
          [](const RangeType& t) { return "[low, high], each a number" + describe(t.each); },
          [](const IntegersType& t) {
            return "a list of integers >= " + std::to_string(t.low) + ", such as " +
                   std::string(t.example);
          },
          [](const SectionType&) -> std::string { return "a section of keys"; },
          [](const ListType&) -> std::string { return "a list of sections"; },
      },
      type);
}

}  // namespace mixflow
