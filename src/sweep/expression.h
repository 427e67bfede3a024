// `when:` expressions over the axes of a sweep: comparisons (also chained, as in 1 < x <= 4), in
// and not in with lists, and, or, not, + - * / %, parentheses, numbers, texts in quotes, true and
// false.
//
//   condition := or;   or := and ("or" and)*;   and := not ("and" not)*;   not := "not" not |
//   comparison comparison := sum (("==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in") sum)*
//   sum := term (("+" | "-") term)*;   term := factor (("*" | "/" | "%") factor)*
//   factor := "-" factor | number | text | "true" | "false" | name | "(" or ")" | "[" or, .. "]"
//
// A name is an axis's key path or a last part of it that fits no other axis.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/yaml.h"

namespace mixflow {

// A value of an axis or within an expression.
struct Operand {
  std::variant<std::monostate, bool, double, std::string, std::vector<Operand>> value;
  bool operator==(const Operand&) const = default;
};

// What a YAML value is in an expression; null and sections are monostate and text.
Operand operand_of(const YamlNode& node);

// The axis that `name` stands for among key paths: the path itself, or one that ends in "." and the
// name. UserError, without a place: no such axis (with the nearest), or several.
std::size_t find_axis(std::string_view name, std::span<const std::string> axes);

class Expression {
 public:
  // Says where the character at `offset` of the text stands.
  using PlaceAt = std::function<TextPlace(std::size_t offset)>;

  // Throws UserError "<place>: when: .." for what is no expression, or names no axis.
  Expression(std::string text, PlaceAt place, std::span<const std::string> axes);
  ~Expression();
  Expression(Expression&&) noexcept;
  Expression& operator=(Expression&&) noexcept;

  // Whether it holds where `value_of(axis)` are the axes' values. Throws UserError with the place
  // for operands that do not fit their operator, and for results that are no truth value.
  bool holds(const std::function<Operand(std::size_t axis)>& value_of) const;

  struct Node;

 private:
  std::string text_;
  PlaceAt place_;
  std::unique_ptr<const Node> root_;
};

}  // namespace mixflow
