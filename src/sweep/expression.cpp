#include "sweep/expression.h"

#include <algorithm>
#include <cmath>

#include "config/plain.h"
#include "sweep/expression_parser.h"
#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

using ValueOf = std::function<Operand(std::size_t)>;

std::string shown(const Operand& operand) {
  if (const auto* truth = std::get_if<bool>(&operand.value)) return *truth ? "true" : "false";
  if (const auto* number = std::get_if<double>(&operand.value)) return number_text(*number);
  if (const auto* text = std::get_if<std::string>(&operand.value)) return in_quotes(*text);
  return std::holds_alternative<std::monostate>(operand.value) ? "null" : "a list";
}

// Evaluates a tree; throws ExpressionError.
class Evaluation {
 public:
  explicit Evaluation(const ValueOf& value_of) : value_of_(value_of) {}

  Operand value(const Expression::Node& node) const {
    switch (node.op) {
      case Operator::constant:
        return node.constant;
      case Operator::axis:
        return value_of_(node.axis);
      case Operator::list: {
        std::vector<Operand> items;
        for (const auto& item : node.operands) items.push_back(value(*item));
        return {std::move(items)};
      }
      case Operator::minus:
        return {-number(*node.operands[0])};
      case Operator::add:
      case Operator::subtract:
      case Operator::multiply:
      case Operator::divide:
      case Operator::remainder:
        return {arithmetic(node)};
      default:
        return {logic(node)};
    }
  }

  bool truth(const Expression::Node& node) const {
    const Operand operand = value(node);
    if (const auto* truth = std::get_if<bool>(&operand.value)) return *truth;
    throw ExpressionError{node.offset, "expected true or false, got " + shown(operand)};
  }

 private:
  double number(const Expression::Node& node) const {
    const Operand operand = value(node);
    if (const auto* number = std::get_if<double>(&operand.value)) return *number;
    throw ExpressionError{node.offset, "expected a number, got " + shown(operand)};
  }

  double arithmetic(const Expression::Node& node) const {
    const double a = number(*node.operands[0]), b = number(*node.operands[1]);
    if (node.op == Operator::add) return a + b;
    if (node.op == Operator::subtract) return a - b;
    if (node.op == Operator::multiply) return a * b;
    if (b == 0) throw ExpressionError{node.offset, "divides by zero"};
    return node.op == Operator::divide ? a / b : std::fmod(a, b);
  }

  bool logic(const Expression::Node& node) const {
    const auto& operands = node.operands;
    switch (node.op) {
      case Operator::both:
        return truth(*operands[0]) && truth(*operands[1]);
      case Operator::either:
        return truth(*operands[0]) || truth(*operands[1]);
      case Operator::negate:
        return !truth(*operands[0]);
      case Operator::chain:
        return std::ranges::all_of(operands, [this](const auto& each) { return truth(*each); });
      case Operator::member:
      case Operator::not_member:
        return member(node) == (node.op == Operator::member);
      default:
        return compare(node);
    }
  }

  bool member(const Expression::Node& node) const {
    const Operand item = value(*node.operands[0]), list = value(*node.operands[1]);
    const auto* items = std::get_if<std::vector<Operand>>(&list.value);
    if (items == nullptr) {
      throw ExpressionError{node.offset,
                            "expected a list after \"in\", such as [1, 2], got " + shown(list)};
    }
    return std::ranges::find(*items, item) != items->end();
  }

  bool compare(const Expression::Node& node) const {
    const Operand a = value(*node.operands[0]), b = value(*node.operands[1]);
    const bool null = std::holds_alternative<std::monostate>(a.value) ||
                      std::holds_alternative<std::monostate>(b.value);
    if (a.value.index() != b.value.index() && !null) {
      throw ExpressionError{
          node.offset, "cannot compare " + shown(a) + " with " + shown(b) + "; give both one type"};
    }
    if (node.op == Operator::equal) return a == b;
    if (node.op == Operator::different) return !(a == b);
    if (const auto* x = std::get_if<double>(&a.value); x != nullptr && !null) {
      return ordered(node.op, *x, std::get<double>(b.value));
    }
    if (const auto* x = std::get_if<std::string>(&a.value); x != nullptr && !null) {
      return ordered(node.op, *x, std::get<std::string>(b.value));
    }
    throw ExpressionError{node.offset, shown(a) + " and " + shown(b) + " have no order"};
  }

  template <class T>
  static bool ordered(Operator op, const T& a, const T& b) {
    if (op == Operator::less) return a < b;
    if (op == Operator::less_equal) return a <= b;
    return op == Operator::greater ? a > b : a >= b;
  }

  const ValueOf& value_of_;
};

}  // namespace

Operand operand_of(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::null) return {};
  if (node.kind == YamlNode::Kind::list) {
    std::vector<Operand> items;
    for (const YamlNode& item : node.items) items.push_back(operand_of(item));
    return {std::move(items)};
  }
  if (node.kind == YamlNode::Kind::map) return {flow_text(node)};
  if (const PlainNumber number = plain_number(node); number.state == PlainNumber::State::number) {
    return {number.value};
  }
  const bool truth = !node.quoted && (node.text == "true" || node.text == "false");
  return truth ? Operand{node.text == "true"} : Operand{node.text};
}

std::size_t find_axis(std::string_view name, std::span<const std::string> axes) {
  std::vector<std::string_view> names, fitting;
  std::size_t found = axes.size();
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] == name) return i;
    names.emplace_back(axes[i]);
    names.push_back(names.back().substr(names.back().rfind('.') + 1));
    if (!axes[i].ends_with("." + std::string(name))) continue;
    found = i;
    fitting.emplace_back(axes[i]);
  }
  if (fitting.size() == 1) return found;
  if (fitting.size() > 1) {
    throw UserError(in_quotes(name) + " may be " + join(fitting, " or ") +
                    "; write more of its path");
  }
  const std::string_view near = nearest(name, names);
  throw UserError("unknown name " + in_quotes(name) +
                  (near.empty() ? "; the axes are " + join(axes, ", ")
                                : ", did you mean " + std::string(near) + "?"));
}

Expression::Expression(std::string text, PlaceAt place, std::span<const std::string> axes)
    : text_(std::move(text)), place_(std::move(place)) {
  try {
    root_ = parse_expression(text_, axes);
  } catch (const ExpressionError& error) {
    fail_at(place_(error.offset), "when", error.message);
  }
}

Expression::~Expression() = default;
Expression::Expression(Expression&&) noexcept = default;
Expression& Expression::operator=(Expression&&) noexcept = default;

bool Expression::holds(const ValueOf& value_of) const {
  try {
    return Evaluation(value_of).truth(*root_);
  } catch (const ExpressionError& error) {
    fail_at(place_(error.offset), "when", error.message);
  }
}

}  // namespace mixflow
