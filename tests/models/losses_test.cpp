#include "models/losses.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "draw.h"
#include "util/error.h"

namespace mixflow {
namespace {

constexpr int kBatch = 7;
constexpr int kClasses = 4;

doctest::Approx near(double x) { return doctest::Approx(x).epsilon(1e-12); }

TEST_CASE("mse is the mean over all elements, with or without a trailing axis of targets") {
  Draw draw(1);
  for (const Shape& targets : {Shape{kBatch, 1}, Shape{kBatch}}) {
    Builder b;
    const Id o = b.input({DType::f64, {kBatch, 1}});
    const Id y = b.input({DType::f64, targets});
    const Tensor64 out = draw.tensor(kBatch);
    const Tensor64 target = draw.tensor(kBatch);
    double expected = 0;
    for (std::size_t i = 0; i < out.size(); ++i) expected += std::pow(out[i] - target[i], 2);
    CHECK(run(b, mse(b, o, y), {out, target})[0] == near(expected / kBatch));
  }
}

TEST_CASE("cross_entropy is minus the log of the label's softmax, also for huge logits") {
  Draw draw(2);
  for (const double scale : {1.0, 500.0}) {
    Builder b;
    const Id logits = b.input({DType::f64, {kBatch, kClasses}});
    const Id labels = b.input({DType::i32, {kBatch}});
    const Tensor64 z = draw.tensor(kBatch * kClasses, -scale, scale);
    const Tensor64 y = draw.labels(kBatch, kClasses);
    double expected = 0;
    for (std::size_t i = 0; i < kBatch; ++i) {
      const double* row = &z[i * kClasses];
      const double top = *std::max_element(row, row + kClasses);
      double total = 0;
      for (int k = 0; k < kClasses; ++k) total += std::exp(row[k] - top);
      expected += top + std::log(total) - row[static_cast<int>(y[i])];
    }
    CHECK(run(b, cross_entropy(b, logits, labels), {z, y})[0] == near(expected / kBatch));
  }
}

TEST_CASE("bce is the Bernoulli likelihood of float targets and of labels, and cannot overflow") {
  Draw draw(3);
  const Tensor64 z = draw.tensor(kBatch, -3, 3);
  const Tensor64 y = draw.labels(kBatch, 2);
  double expected = 0;
  for (std::size_t i = 0; i < kBatch; ++i) {
    const double p = 1 / (1 + std::exp(-z[i]));
    expected -= y[i] * std::log(p) + (1 - y[i]) * std::log(1 - p);
  }
  for (const Type& type : {Type{DType::f64, {kBatch, 1}}, Type{DType::i32, {kBatch}}}) {
    Builder b;
    const Id logits = b.input({DType::f64, {kBatch, 1}});
    const Id targets = b.input(type);
    CHECK(run(b, bce(b, logits, targets), {z, y})[0] == near(expected / kBatch));
  }
  Builder b;
  const Id logits = b.input({DType::f64, {2, 1}});
  const Id targets = b.input({DType::f64, {2, 1}});
  CHECK(run(b, bce(b, logits, targets), {{800, -800}, {1, 1}})[0] == near(400));
}

TEST_CASE("accuracy of cross_entropy counts labels that argmax would choose, and no NaN") {
  const double nan = std::nan("");
  const auto accuracy = [](const Tensor64& z, const Tensor64& y) {
    const auto rows = static_cast<std::int64_t>(y.size());
    Builder b;
    const Id logits = b.input({DType::f64, {rows, 3}});
    const Id labels = b.input({DType::i32, {rows}});
    return run(b, batch_accuracy(b, Loss::cross_entropy, logits, labels), {z, y})[0];
  };
  CHECK(accuracy({0, 1, 2, 5, 1, 1, 3, 3, 0, -1, -2, -3}, {2, 1, 0, 0}) == near(0.75));
  // Of a tie the first class is chosen: equal logits tell nothing about the label.
  CHECK(accuracy({0, 0, 0, 0, 0, 0, 0, 0, 0}, {0, 1, 2}) == near(1.0 / 3));
  CHECK(accuracy({1, 4, 4, 1, 4, 4}, {1, 2}) == near(0.5));
  CHECK(accuracy({nan, nan, nan, nan, 2, 1, 1, 2, nan, 1, nan, 0}, {0, 1, 1, 1}) == 0);
}

TEST_CASE(
    "accuracy of bce counts the sign, for labels and float targets; zero says class 0, NaN "
    "nothing") {
  for (const Type& type : {Type{DType::f64, {4, 1}}, Type{DType::i32, {4}}}) {
    const auto accuracy = [&](const Tensor64& z, const Tensor64& y) {
      Builder b;
      const Id logits = b.input({DType::f64, {4, 1}});
      const Id targets = b.input(type);
      return run(b, batch_accuracy(b, Loss::bce, logits, targets), {z, y})[0];
    };
    CHECK(accuracy({0.5, -0.1, 2, -3}, {1, 1, 0, 0}) == near(0.5));
    CHECK(accuracy({0, 0, 0, -0.0}, {1, 0, 1, 0}) == near(0.5));
    CHECK(accuracy({0, 0, std::nan(""), std::nan("")}, {1, 1, 1, 0}) == 0);
  }
}

TEST_CASE("regression has no accuracy") {
  Builder b;
  const Id x = b.input({DType::f64, {4, 1}});
  CHECK_FALSE(classifies(Loss::mse));
  CHECK_THROWS_AS(batch_accuracy(b, Loss::mse, x, x), InternalError);
}

TEST_CASE("the L2 term weighs by scalars and by whole tensors") {
  Draw draw(4);
  Builder b;
  const Id h0 = b.input({DType::f64, {}});
  const Id h1 = b.input({DType::f64, {2, 3}});
  const Id w0 = b.input({DType::f64, {5}});
  const Id w1 = b.input({DType::f64, {2, 3}});
  const Ids h{h0, h1};
  const Ids w{w0, w1};
  const std::vector<Tensor64> in{{0.3}, draw.tensor(6), draw.tensor(5), draw.tensor(6)};
  double expected = 0;
  for (std::size_t i = 0; i < 5; ++i) expected += 0.5 * 0.3 * in[2][i] * in[2][i];
  for (std::size_t i = 0; i < 6; ++i) expected += 0.5 * in[1][i] * in[3][i] * in[3][i];
  CHECK(run(b, l2_term(b, h, w), in)[0] == near(expected));
}

}  // namespace
}  // namespace mixflow
