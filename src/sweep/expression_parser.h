// The syntax tree of a `when:` expression, and how it is read.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sweep/expression.h"

namespace mixflow {

enum class Operator : std::uint8_t {
  constant,
  axis,
  list,
  both,    // and
  either,  // or
  negate,  // not
  chain,   // comparisons side by side: all hold
  equal,
  different,
  less,
  less_equal,
  greater,
  greater_equal,
  member,      // in
  not_member,  // not in
  add,
  subtract,
  multiply,
  divide,
  remainder,
  minus,
};

struct Expression::Node {
  Operator op = Operator::constant;
  std::size_t offset = 0;  // in the text, for messages
  Operand constant;
  std::size_t axis = 0;
  std::vector<std::shared_ptr<const Node>> operands;
};

// What is wrong with an expression, and at which offset of its text.
struct ExpressionError {
  std::size_t offset;
  std::string message;
};

// Throws ExpressionError.
std::unique_ptr<const Expression::Node> parse_expression(std::string_view text,
                                                         std::span<const std::string> axes);

}  // namespace mixflow
