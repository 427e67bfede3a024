#include "sweep/expression_parser.h"

#include <charconv>
#include <optional>
#include <utility>

#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

using NodePtr = std::shared_ptr<const Expression::Node>;

constexpr int kMostLevels = 100;  // of parentheses and operators inside each other
// Operators: a + b + .. is as deep as it is long.
constexpr int kMostOperators = 1000;

bool starts_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

enum class Kind : std::uint8_t { end, number, text, name, symbol };

struct Token {
  Kind kind = Kind::end;
  std::size_t offset = 0;
  std::string text;  // of a text: without quotes
  double number = 0;
};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Token next() {
    while (at_ < text_.size() && std::string_view(" \t\n").find(text_[at_]) != std::string::npos) {
      ++at_;
    }
    if (at_ == text_.size()) return {.offset = at_};
    const char c = text_[at_];
    if (is_digit(c) || (c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1]))) {
      return number();
    }
    if (c == '"' || c == '\'') return quoted(c);
    return starts_name(c) ? name() : symbol();
  }

 private:
  Token taken(Kind kind, std::size_t size) {
    Token token{.kind = kind, .offset = at_, .text = std::string(text_.substr(at_, size))};
    at_ += size;
    return token;
  }

  Token number() {
    double value = 0;
    const char* first = text_.data() + at_;
    const auto result = std::from_chars(first, text_.data() + text_.size(), value);
    if (result.ec != std::errc()) throw ExpressionError{at_, "a number outside a double's range"};
    Token token = taken(Kind::number, static_cast<std::size_t>(result.ptr - first));
    token.number = value;
    return token;
  }

  Token quoted(char quote) {
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == std::string_view::npos) {
      throw ExpressionError{at_, "the quote that opens here does not close"};
    }
    Token token = taken(Kind::text, end + 1 - at_);
    token.text = token.text.substr(1, token.text.size() - 2);
    return token;
  }

  // A key path: words, numbers of list items as .0 or [0].
  Token name() {
    std::size_t end = at_;
    const auto word = [&] {
      while (end < text_.size() && (starts_name(text_[end]) || is_digit(text_[end]))) ++end;
    };
    word();
    while (end + 1 < text_.size()) {
      std::size_t close = end + 1;
      while (close < text_.size() && is_digit(text_[close])) ++close;
      const bool item =
          text_[end] == '[' && close > end + 1 && close < text_.size() && text_[close] == ']';
      if (item) {
        end = close + 1;
      } else if (text_[end] == '.' && (starts_name(text_[end + 1]) || is_digit(text_[end + 1]))) {
        ++end;
        word();
      } else {
        break;
      }
    }
    return taken(Kind::name, end - at_);
  }

  Token symbol() {
    for (const std::string_view two : {"==", "!=", "<=", ">="}) {
      if (text_.substr(at_, 2) == two) return taken(Kind::symbol, 2);
    }
    static constexpr std::pair<std::string_view, std::string_view> kOthers[] = {
        {"&&", "and"}, {"||", "or"}, {"=", "=="}, {"!", "not"}, {"**", "a product"}};
    for (const auto& [theirs, ours] : kOthers) {
      if (text_.substr(at_, theirs.size()) == theirs) {
        throw ExpressionError{
            at_, "there is no " + std::string(theirs) + " here; write " + std::string(ours)};
      }
    }
    if (std::string_view("<>+-*/%()[],").find(text_[at_]) == std::string_view::npos) {
      throw ExpressionError{at_, "unexpected " + in_quotes(text_.substr(at_, 1))};
    }
    return taken(Kind::symbol, 1);
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

struct Spelling {
  std::string_view text;
  Operator op;
};
constexpr Spelling kComparisons[] = {{"==", Operator::equal},  {"!=", Operator::different},
                                     {"<", Operator::less},    {"<=", Operator::less_equal},
                                     {">", Operator::greater}, {">=", Operator::greater_equal},
                                     {"in", Operator::member}};
constexpr Spelling kSums[] = {{"+", Operator::add}, {"-", Operator::subtract}};
constexpr Spelling kTerms[] = {
    {"*", Operator::multiply}, {"/", Operator::divide}, {"%", Operator::remainder}};

class Parser {
 public:
  Parser(std::string_view text, std::span<const std::string> axes) : lexer_(text), axes_(axes) {
    advance();
  }

  NodePtr whole() {
    if (token_.kind == Kind::end) fail("the expression is empty");
    NodePtr node = either();
    if (token_.kind != Kind::end) fail("expected an operator, got " + found());
    return node;
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw ExpressionError{token_.offset, message};
  }
  std::string found() const {
    return token_.kind == Kind::end ? "the end" : in_quotes(token_.text);
  }
  void advance() { token_ = lexer_.next(); }
  bool at(std::string_view text) const {
    return (token_.kind == Kind::symbol || token_.kind == Kind::name) && token_.text == text;
  }
  bool take(std::string_view text) {
    if (!at(text)) return false;
    advance();
    return true;
  }
  std::optional<Operator> at_one_of(std::span<const Spelling> operators) const {
    for (const Spelling& spelling : operators)
      if (at(spelling.text)) return spelling.op;
    return std::nullopt;
  }

  static NodePtr make(Operator op, std::size_t offset, std::vector<NodePtr> operands) {
    return std::make_shared<Expression::Node>(
        Expression::Node{.op = op, .offset = offset, .operands = std::move(operands)});
  }
  static NodePtr constant(std::size_t offset, Operand value) {
    return std::make_shared<Expression::Node>(
        Expression::Node{.offset = offset, .constant = std::move(value)});
  }

  NodePtr either() {
    NodePtr left = both();
    while (at("or")) left = joined(Operator::either, std::move(left), [this] { return both(); });
    return left;
  }
  NodePtr both() {
    NodePtr left = negated();
    while (at("and")) left = joined(Operator::both, std::move(left), [this] { return negated(); });
    return left;
  }
  template <class Next>
  NodePtr joined(Operator op, NodePtr left, Next next) {
    const std::size_t offset = token_.offset;
    if (++operators_ > kMostOperators) {
      fail("more than " + std::to_string(kMostOperators) +
           " operators; write a list (in [..]), or several conditions");
    }
    advance();
    return make(op, offset, {std::move(left), next()});
  }

  NodePtr negated() {
    const std::size_t offset = token_.offset;
    if (!take("not")) return comparison();
    const Level level(*this);
    return make(Operator::negate, offset, {negated()});
  }

  NodePtr comparison() {
    NodePtr left = sum();
    std::vector<NodePtr> all;
    const std::size_t start = token_.offset;
    while (true) {
      const std::size_t offset = token_.offset;
      std::optional<Operator> op = at_one_of(kComparisons);
      if (at("not")) {
        advance();
        if (!at("in")) fail("expected \"in\" after \"not\", got " + found());
        op = Operator::not_member;
      }
      if (!op) break;
      advance();
      NodePtr right = sum();
      all.push_back(make(*op, offset, {left, right}));
      left = std::move(right);
    }
    if (all.empty()) return left;
    return all.size() == 1 ? all.front() : make(Operator::chain, start, std::move(all));
  }

  NodePtr sum() {
    NodePtr left = term();
    while (const auto op = at_one_of(kSums)) {
      left = joined(*op, std::move(left), [this] { return term(); });
    }
    return left;
  }
  NodePtr term() {
    NodePtr left = factor();
    while (const auto op = at_one_of(kTerms)) {
      left = joined(*op, std::move(left), [this] { return factor(); });
    }
    return left;
  }

  NodePtr factor() {
    const Level level(*this);
    const Token token = token_;
    if (take("-")) return make(Operator::minus, token.offset, {factor()});
    if (take("(")) {
      NodePtr inside = either();
      if (!take(")")) fail("expected \")\", got " + found());
      return inside;
    }
    if (take("[")) return list(token.offset);
    const bool word = at("and") || at("or") || at("in") || at("not");
    if (token.kind == Kind::end || token.kind == Kind::symbol || word) {
      fail("expected a value, got " + found());
    }
    advance();
    if (token.kind == Kind::number) return constant(token.offset, {token.number});
    if (token.kind == Kind::text) return constant(token.offset, {token.text});
    if (token.text == "true" || token.text == "false") {
      return constant(token.offset, {token.text == "true"});
    }
    return axis(token);
  }

  NodePtr axis(const Token& token) const {
    try {
      return std::make_shared<Expression::Node>(Expression::Node{
          .op = Operator::axis, .offset = token.offset, .axis = find_axis(token.text, axes_)});
    } catch (const UserError& error) {
      throw ExpressionError{token.offset, error.what()};
    }
  }

  NodePtr list(std::size_t offset) {
    std::vector<NodePtr> items;
    while (!take("]")) {
      if (!items.empty() && !take(",")) fail("expected \",\" or \"]\", got " + found());
      items.push_back(either());
    }
    return make(Operator::list, offset, std::move(items));
  }

  // Counts how deep the parser is while it lives.
  struct Level {
    explicit Level(Parser& parser) : depth(parser.depth_) {
      if (++depth > kMostLevels) parser.fail("nested too deep; write a simpler condition");
    }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    ~Level() { --depth; }
    int& depth;
  };

  Lexer lexer_;
  std::span<const std::string> axes_;
  Token token_;
  int depth_ = 0, operators_ = 0;
};

}  // namespace

std::unique_ptr<const Expression::Node> parse_expression(std::string_view text,
                                                         std::span<const std::string> axes) {
  return std::make_unique<Expression::Node>(*Parser(text, axes).whole());
}

}  // namespace mixflow
