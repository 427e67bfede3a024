// Values of reductions against the ops' references are in ops/lower_test.cpp; here is what f32
// makes hard.
#include "kernels/reduce.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/guarded.h"
#include "util/rng.h"

namespace mixflow {
namespace {

std::vector<float> run(const Kernel& kernel, const std::vector<float>& x, std::size_t outputs) {
  std::vector<float> y(outputs, -1.0F);
  const std::byte* in[] = {reinterpret_cast<const std::byte*>(x.data())};
  std::byte* out[] = {reinterpret_cast<std::byte*>(y.data())};
  kernel.run(in, out, nullptr);
  return y;
}

TEST_CASE("Sums of a million equal terms are exact to the last bits, along rows and columns") {
  constexpr std::int64_t kTerms = 1'000'003;
  const std::vector<float> x(static_cast<std::size_t>(3 * kTerms), 0.1F);
  const double expected = static_cast<double>(0.1F) * kTerms;
  for (const float sum : run(*make_reduce(Reduction::sum, {3, kTerms}, {1}, 1), x, 3)) {
    CHECK(std::abs(sum - expected) < 2e-6 * expected);
  }
  for (const float sum : run(*make_reduce(Reduction::sum, {kTerms, 3}, {0}, 1), x, 3)) {
    CHECK(std::abs(sum - expected) < 1e-7 * expected);
  }
}

TEST_CASE("A reduction has the same bits on any number of threads") {
  Rng rng(1, Purpose::check, 10);
  const std::vector<std::int64_t> shape = {7, 300, 520};
  std::vector<float> x(7 * 300 * 520);
  for (float& value : x) value = static_cast<float>(rng.uniform(-1, 1));
  const std::vector<std::vector<std::int64_t>> all_axes = {{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}};
  for (const auto& axes : all_axes) {
    std::size_t outputs = x.size();
    for (const std::int64_t axis : axes)
      outputs /= static_cast<std::size_t>(shape[static_cast<std::size_t>(axis)]);
    for (const Reduction reduction : {Reduction::sum, Reduction::max}) {
      CHECK(run(*make_reduce(reduction, shape, axes, 1), x, outputs) ==
            run(*make_reduce(reduction, shape, axes, 3), x, outputs));
    }
  }
  CHECK(run(*make_logsumexp(2100, 520, 1), x, 2100) == run(*make_logsumexp(2100, 520, 3), x, 2100));
}

TEST_CASE("Reductions over nothing give the neutral element") {
  CHECK(run(*make_reduce(Reduction::sum, {2, 0}, {1}, 1), {}, 2) == std::vector<float>{0, 0});
  CHECK(run(*make_reduce(Reduction::sum, {0, 2}, {0}, 1), {}, 2) == std::vector<float>{0, 0});
  CHECK(run(*make_reduce(Reduction::max, {2, 0}, {1}, 1), {}, 2) ==
        std::vector<float>{-testing::kInf, -testing::kInf});
  CHECK(run(*make_reduce(Reduction::sum, {}, {}, 1), {5}, 1) == std::vector<float>{5});
  CHECK(run(*make_reduce(Reduction::sum, {0, 2}, {1}, 1), {}, 0).empty());
  CHECK(run(*make_logsumexp(1, 0, 1), {}, 1) == std::vector<float>{-testing::kInf});
}

TEST_CASE("logsumexp neither overflows nor loses small terms") {
  for (const std::size_t n : {1u, 3u, 16u, 37u, 3000u}) {
    std::vector<float> x(n, 1000.0F);
    const double expected = 1000.0 + std::log(static_cast<double>(n));
    CHECK(run(*make_logsumexp(1, static_cast<std::int64_t>(n), 1), x, 1)[0] ==
          doctest::Approx(expected).epsilon(1e-7));
    for (float& value : x) value = -1000.0F;
    CHECK(run(*make_logsumexp(1, static_cast<std::int64_t>(n), 1), x, 1)[0] ==
          doctest::Approx(expected - 2000.0).epsilon(1e-7));
  }
  std::vector<float> spread(40, -500.0F);
  spread[17] = 200.0F;
  CHECK(run(*make_logsumexp(1, 40, 1), spread, 1)[0] == 200.0F);
}

TEST_CASE("logsumexp of many different terms is as exact as a float can be") {
  Rng rng(1, Purpose::check, 30);
  for (const std::size_t n : {2u, 17u, 100u, 1024u, 5000u}) {
    std::vector<float> x(n);
    double sum = 0;
    for (float& value : x) {
      value = static_cast<float>(rng.uniform(-30, 3));
      sum += std::exp(static_cast<double>(value));
    }
    CHECK(run(*make_logsumexp(1, static_cast<std::int64_t>(n), 1), x, 1)[0] ==
          doctest::Approx(std::log(sum)).epsilon(1e-6).scale(0.1));
  }
}

TEST_CASE("logsumexp passes on infinities and NaN wherever they stand") {
  const float nan = std::nanf("");
  for (const std::size_t n : {1u, 5u, 16u, 40u}) {
    const auto with = [n](float rest, std::size_t place, float value) {
      std::vector<float> x(n, rest);
      x[place] = value;
      return run(*make_logsumexp(1, static_cast<std::int64_t>(n), 1), x, 1)[0];
    };
    for (std::size_t place = 0; place < n; ++place) {
      CHECK(std::isnan(with(0, place, nan)));
      CHECK(std::isnan(with(-testing::kInf, place, nan)));
      CHECK(with(0, place, testing::kInf) == testing::kInf);
      CHECK(with(-testing::kInf, place, 3.0F) == 3.0F);
    }
    CHECK(std::isnan(with(nan, 0, nan)));
    CHECK(with(-testing::kInf, 0, -testing::kInf) == -testing::kInf);
  }
}

}  // namespace
}  // namespace mixflow
