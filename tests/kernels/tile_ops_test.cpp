#include "kernels/tile_ops.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/every_target.h"
#include "kernels/fused_reference.h"
#include "kernels/guarded.h"

namespace mixflow {
namespace {

float run_one(TileOp op, float a, float b = 0, float c = 0) {
  float y = 0;
  tile_fn(op, kSplatNone)(&y, &a, &b, &c, 1);
  return y;
}

// Distance to the exact result in units of the float's last place.
double ulps(float y, double exact) {
  if (static_cast<double>(y) == exact) return 0;
  const double place = std::max(std::ldexp(1.0, std::ilogb(exact) - 23), std::ldexp(1.0, -149));
  return std::abs(static_cast<double>(y) - exact) / place;
}

struct Accuracy {
  TileOp op;
  float low, high;
  double ulps;
};

TEST_CASE(
    "transcendental functions are accurate to a few units in the last place over wide ranges") {
  const Accuracy cases[] = {
      {TileOp::exp, -87, 88.7f, 4},      {TileOp::log, 1e-30f, 1e30f, 4},
      {TileOp::log, 0.5f, 2, 4},         {TileOp::tanh, -12, 12, 4},
      {TileOp::tanh, -0.01f, 0.01f, 4},  {TileOp::sigmoid, -80, 80, 5},
      {TileOp::softplus, -80, 80, 5},    {TileOp::softplus, -2, 2, 5},
      {TileOp::sin, -3, 3, 4},           {TileOp::sin, -1e4f, 1e4f, 4},
      {TileOp::cos, -3, 3, 4},           {TileOp::cos, -1e4f, 1e4f, 4},
      {TileOp::sin, -1e9f, 1e9f, 4},     {TileOp::cos, 1e5f, 3e37f, 4},
      {TileOp::rsqrt, 1e-30f, 1e30f, 2}, {TileOp::sqrt, 0, 1e30f, 0.5},
      {TileOp::reciprocal, -9, 9, 0.5},  {TileOp::square, -9, 9, 0.5},
  };
  std::mt19937 random(1);
  for (const Accuracy& test : cases) {
    std::uniform_real_distribution<float> uniform(test.low, test.high);
    std::vector<float> x(20000), y(x.size());
    for (float& v : x) v = uniform(random);
    tile_fn(test.op, kSplatNone)(y.data(), x.data(), nullptr, nullptr, x.size());
    double worst = 0;
    float at = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double error = ulps(y[i], testing::apply(test.op, x[i], 0, 0));
      if (error > worst) {
        worst = error;
        at = x[i];
      }
    }
    CAPTURE(static_cast<int>(test.op));
    CAPTURE(at);
    CHECK(worst <= test.ulps);
  }
}

TEST_CASE("functions end as their limits say at infinities, zeros and beyond the range of floats") {
  CHECK(run_one(TileOp::exp, 89) == testing::kInf);
  CHECK(run_one(TileOp::exp, testing::kInf) == testing::kInf);
  CHECK(run_one(TileOp::exp, 3e38f) == testing::kInf);
  CHECK(run_one(TileOp::exp, -testing::kInf) == 0);
  CHECK(run_one(TileOp::exp, -3e38f) == 0);
  CHECK(run_one(TileOp::exp, 0) == 1);
  CHECK(run_one(TileOp::log, 0) == -testing::kInf);
  CHECK(run_one(TileOp::log, -0.0f) == -testing::kInf);
  CHECK(run_one(TileOp::log, testing::kInf) == testing::kInf);
  CHECK(run_one(TileOp::log, 1) == 0);
  CHECK(std::isnan(run_one(TileOp::log, -1)));
  CHECK(run_one(TileOp::tanh, testing::kInf) == 1);
  CHECK(run_one(TileOp::tanh, -1e30f) == -1);
  CHECK(run_one(TileOp::tanh, 1e-20f) == 1e-20f);
  CHECK(run_one(TileOp::sigmoid, -testing::kInf) == 0);
  CHECK(run_one(TileOp::sigmoid, testing::kInf) == 1);
  CHECK(run_one(TileOp::sigmoid, -200) == 0);
  CHECK(run_one(TileOp::sigmoid, 200) == 1);
  CHECK(run_one(TileOp::softplus, -testing::kInf) == 0);
  CHECK(run_one(TileOp::softplus, testing::kInf) == testing::kInf);
  CHECK(run_one(TileOp::softplus, 1e30f) == 1e30f);
  CHECK(run_one(TileOp::softplus, -30) == doctest::Approx(std::exp(-30.0)).epsilon(1e-6));
  CHECK(std::isnan(run_one(TileOp::sin, testing::kInf)));
  CHECK(std::isnan(run_one(TileOp::cos, -testing::kInf)));
  CHECK(run_one(TileOp::step, 0) == 0);
  CHECK(run_one(TileOp::sign, -0.0f) == 0);
  CHECK(run_one(TileOp::select, testing::kNaN, 2, 3) == 2);
  CHECK(run_one(TileOp::pow, 2, -0.5f) == std::pow(2.0f, -0.5f));
}

TEST_CASE("two ops in one pass are those two ops") {
  const float a = 3, b = 5, c = 7;  // small whole numbers: exact in any order
  CHECK(run_one(TileOp::mul_add, a, b, c) == a * b + c);
  CHECK(run_one(TileOp::mul_sub, a, b, c) == a * b - c);
  CHECK(run_one(TileOp::sub_mul, a, b, c) == c - a * b);
  CHECK(run_one(TileOp::mul_mul, a, b, c) == a * b * c);
  CHECK(run_one(TileOp::sum_mul, a, b, c) == (a + b) * c);
  CHECK(run_one(TileOp::diff_mul, a, b, c) == (a - b) * c);
  CHECK(run_one(TileOp::add_add, a, b, c) == a + b + c);
  CHECK(run_one(TileOp::diff_add, a, b, c) == a - b + c);
}

TEST_CASE("a NaN stays a NaN in every op of one operand but masks") {
  for (const TileOp op :
       {TileOp::copy, TileOp::neg, TileOp::exp, TileOp::log, TileOp::sqrt, TileOp::rsqrt,
        TileOp::reciprocal, TileOp::square, TileOp::tanh, TileOp::sigmoid, TileOp::softplus,
        TileOp::sin, TileOp::cos, TileOp::abs, TileOp::relu}) {
    CAPTURE(static_cast<int>(op));
    CHECK(std::isnan(run_one(op, testing::kNaN)));
  }
}

TEST_CASE("an element's bits depend neither on its place in the tile nor on running in place") {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(0.1f, 4);
  std::vector<float> a(70), b(70), c(70);
  for (std::size_t i = 0; i < a.size(); ++i)
    a[i] = uniform(random), b[i] = uniform(random), c[i] = uniform(random);
  for (int code = static_cast<int>(TileOp::copy); code <= static_cast<int>(TileOp::diff_add);
       ++code) {
    const auto op = static_cast<TileOp>(code);
    CAPTURE(code);
    const TileFn fn = tile_fn(op, kSplatNone);
    REQUIRE((fn != nullptr));
    for (std::size_t n = 0; n <= a.size(); ++n) {
      std::vector<float> y(n + 1, -7.0f), in_place = a;
      fn(y.data(), a.data(), b.data(), c.data(), n);
      fn(in_place.data(), in_place.data(), b.data(), c.data(), n);
      CHECK(y[n] == -7.0f);
      for (std::size_t i = 0; i < n; ++i) {
        CHECK(y[i] == run_one(op, a[i], b[i], c[i]));
        CHECK(in_place[i] == y[i]);
      }
    }
    for (const unsigned splats : {1u, 2u, 3u, 4u, 5u, 6u}) {
      const TileFn splatted = tile_fn(op, splats);
      if (splatted == nullptr) continue;
      std::vector<float> y(37);
      splatted(y.data(), a.data(), b.data(), c.data(), y.size());
      for (std::size_t i = 0; i < y.size(); ++i) {
        CHECK(y[i] == run_one(op, a[(splats & 1u) != 0 ? 0 : i], b[(splats & 2u) != 0 ? 0 : i],
                              c[(splats & 4u) != 0 ? 0 : i]));
      }
    }
  }
}

TEST_CASE("long row sums are far more accurate than one float accumulator") {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<float> x(512);
  double exact = 0;
  for (float& v : x) v = uniform(random), exact += static_cast<double>(v);
  float y = 0;
  row_fns().sum(&y, x.data(), 1, x.size());
  CHECK(std::abs(y / exact - 1) < 2e-7);
}

TEST_CASE("rows of any length are summed to a few units in the last place") {
  // Equal terms are the worst case: every rounding of a long chain errs the same way.
  for (const std::size_t n : {512u, 6000u, 16384u}) {
    CAPTURE(n);
    const std::vector<float> x(n, 0.3259907f);
    float y = 0;
    row_fns().sum(&y, x.data(), 1, n);
    const double exact = static_cast<double>(n) * static_cast<double>(x[0]);
    CHECK(std::abs(static_cast<double>(y) / exact - 1) < 2e-6);
  }
}

TEST_CASE("positions are exact in every row, and the nearest floats beyond 2^24") {
  constexpr std::int64_t k24 = std::int64_t{1} << 24, k31 = std::int64_t{1} << 31;
  on_every_target(HWY_TARGETS, [] {
    for (const std::int64_t first :
         {std::int64_t{0}, std::int64_t{7}, k24 - 20, k31 - 50, k31 - 20, k31 + 3, k31 << 9}) {
      for (const std::size_t cols : {0u, 1u, 3u, 15u, 16u, 50u, 512u}) {
        for (const std::size_t rows : {0u, 1u, 3u}) {
          std::vector<float> found((rows + 1) * cols + 1, -1.0F);
          row_fns().iota(found.data(), first, rows, cols);
          for (std::size_t i = 0; i < rows * cols; ++i)
            CHECK(found[i] == static_cast<float>(first + static_cast<std::int64_t>(i % cols)));
          for (std::size_t i = rows * cols; i < found.size(); ++i) CHECK(found[i] == -1.0F);
        }
      }
    }
  });
}

TEST_CASE("row maxima are -inf for empty rows and NaN for rows with one") {
  float y[2] = {0, 0};
  row_fns().max(y, nullptr, 2, 0);
  CHECK(y[0] == -testing::kInf);
  for (std::size_t at = 0; at < 45; ++at) {
    std::vector<float> x(45, 1.0f);
    x[at] = testing::kNaN;
    row_fns().max(y, x.data(), 1, x.size());
    CHECK(std::isnan(y[0]));
    x[at] = 5;
    row_fns().max(y, x.data(), 1, x.size());
    CHECK(y[0] == 5);
  }
}

}  // namespace
}  // namespace mixflow
