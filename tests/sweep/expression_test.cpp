#include "sweep/expression.h"

#include <doctest/doctest.h>

#include "../util/testing.h"
#include "util/error.h"

using namespace mixflow;

namespace {

const std::vector<std::string> kAxes = {"inner.steps",   "inner.optimizer.lr", "meta.optimizer.lr",
                                        "gradient.mode", "model.hidden",       "model.bias",
                                        "inner.l2"};

TextPlace at(std::size_t offset) {
  return {std::make_shared<const std::string>("s.yaml"), 3, static_cast<int>(offset) + 1};
}

Operand value_of(std::size_t axis) {
  const std::vector<Operand> values = {
      {5.0},  {0.1}, {0.001}, {std::string("mixed")}, {std::vector<Operand>{{8.0}, {4.0}}},
      {true}, {}};
  return values[axis];
}

bool holds(const std::string& text) { return Expression(text, at, kAxes).holds(value_of); }

std::string error(const std::string& text) {
  return message_of<UserError>([&] { holds(text); });
}

}  // namespace

TEST_CASE("arithmetic binds before comparison, comparison before not, and, or") {
  CHECK(holds("steps == 2 + 3"));
  CHECK(holds("1 + 2 * steps == 11"));
  CHECK(holds("(1 + 2) * steps == 15"));
  CHECK(holds("steps - 2 - 1 == 2"));
  CHECK(holds("-steps + 6 == 1"));
  CHECK(holds("steps % 3 == 2 and steps / 2 == 2.5"));
  CHECK(holds("not steps == 4 and true"));
  CHECK(holds("true or false and false"));
  CHECK_FALSE(holds("(true or false) and false"));
  CHECK(holds("steps > 4 or 1 / 0 > 1"));  // the second is not looked at
}

TEST_CASE("comparisons chain, and look into lists") {
  CHECK(holds("1 < steps <= 5"));
  CHECK_FALSE(holds("1 < steps < 5"));
  CHECK(holds("steps in [1, 2, 5]"));
  CHECK(holds("steps not in [1, 2]"));
  CHECK(holds("mode in ['mixed', \"reverse\"] and mode != 'reverse' and mode < 'n'"));
  CHECK(holds("hidden == [8, 2 * 2]"));
  CHECK(holds("bias and bias == true"));
  CHECK(holds("l2 != 0 and l2 == l2"));
}

TEST_CASE("names are key paths or last parts of them that fit one axis") {
  CHECK(find_axis("inner.optimizer.lr", kAxes) == 1);
  CHECK(find_axis("steps", kAxes) == 0);
  CHECK(holds("meta.optimizer.lr < inner.optimizer.lr"));
  CHECK(
      error("lr < 1") ==
      "s.yaml:3:1: when: \"lr\" may be inner.optimizer.lr or meta.optimizer.lr; write more of its "
      "path");
  CHECK(error("true and stepz < 1") ==
        "s.yaml:3:10: when: unknown name \"stepz\", did you mean steps?");
  const std::vector<std::string> lists = {"meta.parameters[0].init", "meta.parameters.1.init"};
  CHECK(find_axis("meta.parameters[0].init", lists) == 0);
  CHECK(Expression("meta.parameters[0].init < meta.parameters.1.init", at, lists)
            .holds([](std::size_t axis) { return Operand{static_cast<double>(axis)}; }));
}

TEST_CASE("what is no expression is an error with its column") {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"", "1: when: the expression is empty"},
      {"steps <", "8: when: expected a value, got the end"},
      {"steps 2", "7: when: expected an operator, got \"2\""},
      {"(steps < 2", "11: when: expected \")\", got the end"},
      {"steps in [1, 2", "15: when: expected \",\" or \"]\", got the end"},
      {"steps = 2", "7: when: there is no = here; write =="},
      {"steps < 2 && bias", "11: when: there is no && here; write and"},
      {"!bias", "1: when: there is no ! here; write not"},
      {"steps < #", "9: when: unexpected \"#\""},
      {"mode == 'mixed", "9: when: the quote that opens here does not close"},
      {"steps not 2", "11: when: expected \"in\" after \"not\", got \"2\""},
      {"steps < 1e999", "9: when: a number outside a double's range"},
      {"steps and bias", "1: when: expected true or false, got 5"},
      {"steps + 1", "7: when: expected true or false, got 6"},
      {"mode + 1 == 2", "1: when: expected a number, got \"mixed\""},
      {"steps == 'five'", "7: when: cannot compare 5 with \"five\"; give both one type"},
      {"bias < true", "6: when: true and true have no order"},
      {"steps % 0 == 1", "7: when: divides by zero"},
      {"steps in 5", "7: when: expected a list after \"in\", such as [1, 2], got 5"},
      {std::string(300, '(') + "1", "101: when: nested too deep; write a simpler condition"},
  };
  for (const auto& [text, message] : bad) {
    CAPTURE(text);
    CHECK(error(text) == "s.yaml:3:" + message);
  }
}

TEST_CASE("a condition of any length is read or refused, without more stack or time") {
  const auto repeated = [](const std::string& piece, int times) {
    std::string text;
    for (int i = 0; i < times; ++i) text += piece;
    return text;
  };
  CHECK(holds("steps == 5" + repeated(" and 1 < 2", 999)));
  for (const std::string operation : {" + 1", " and true", " or false", " * 1"}) {
    CAPTURE(operation);
    const std::string message = error("steps" + repeated(operation, 50'000) + " > 0");
    CHECK_MESSAGE(message.find("when: more than 1000 operators; write a list (in [..]), or several "
                               "conditions") != std::string::npos,
                  message);
  }
  CHECK(holds("steps in [5" + repeated(", 7", 50'000) + "]"));
  CHECK(error(repeated("(", 50'000)).find("nested too deep") != std::string::npos);
  CHECK(error(repeated("- ", 50'000)).find("nested too deep") != std::string::npos);
  CHECK(error(repeated("not ", 50'000)).find("nested too deep") != std::string::npos);
  CHECK(error("a" + repeated(".a", 200'000)).find("unknown name") != std::string::npos);
  CHECK(error(repeated("a[1 ", 200'000)) != "(nothing was thrown)");
}
