// A sweep's condition over axes of every type.
#include "fuzz.h"
#include "sweep/expression.h"

using mixflow::Operand;

MIXFLOW_FUZZ_TARGET(data, size) {
  static const std::vector<std::string> axes = {
      "inner.steps",  "inner.optimizer.lr", "meta.optimizer.lr", "gradient.mode",
      "model.hidden", "model.bias",         "inner.l2"};
  static const std::vector<Operand> values = {
      {5.0},  {0.1}, {0.001}, {std::string("mixed")}, {std::vector<Operand>{{8.0}, {4.0}}},
      {true}, {}};
  const auto place = [](std::size_t offset) {
    return mixflow::TextPlace{std::make_shared<const std::string>("s.yaml"), 1,
                              static_cast<int>(offset) + 1};
  };
  mixflow::takes([&] {
    const mixflow::Expression expression(mixflow::text_of(data, size), place, axes);
    static_cast<void>(expression.holds([&](std::size_t axis) { return values[axis]; }));
  });
  return 0;
}
