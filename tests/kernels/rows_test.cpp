// Sums of exponentials against float64, on every instruction set of this CPU.
#include "kernels/rows.h"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/every_target.h"
#include "kernels/guarded.h"
#include "util/rng.h"

namespace mixflow {
namespace {

double found(const std::vector<float>& x, float shift) {
  return row_kernels().sum_exp(x.data(), static_cast<std::int64_t>(x.size()), shift);
}

double exact(const std::vector<float>& x, float shift) {
  double sum = 0;
  for (const float value : x) sum += std::exp(static_cast<double>(value - shift));
  return sum;
}

TEST_CASE("sums of exponentials are exact to a few units in the last place at any length") {
  on_every_target(HWY_TARGETS, [] {
    Rng rng(1, Purpose::check, 31);
    CHECK(found({}, 0) == 0);
    for (std::size_t n = 1; n < 2200; n += n < 140 ? 1 : 97) {
      CAPTURE(n);
      std::vector<float> x(n);
      for (float& value : x) value = static_cast<float>(rng.uniform(-30, 3));
      CHECK(found(x, 3) == doctest::Approx(exact(x, 3)).epsilon(1e-6).scale(0));
      for (float& value : x) value = 1.7F;  // all roundings err the same way
      CHECK(found(x, 2) == doctest::Approx(exact(x, 2)).epsilon(1e-5).scale(0));
    }
  });
}

TEST_CASE("terms too small for a float add nothing, and none is lost before") {
  on_every_target(HWY_TARGETS, [] {
    for (const float low : {-testing::kInf, -3e38F, -1e5F, -120.0F, -88.0F}) {
      for (const std::size_t n : {1u, 5u, 16u, 33u, 70u}) {
        CAPTURE(low);
        CAPTURE(n);
        CHECK(found(std::vector<float>(n, low), 0) < 1e-36);
        for (std::size_t at = 0; at < n; ++at) {
          std::vector<float> x(n, low);
          x[at] = 3e37F;
          CHECK(found(x, 3e37F) == 1);
        }
      }
    }
    for (const float small : {-87.3F, -80.0F, -50.0F}) {
      const std::vector<float> x(33, small);
      CHECK(found(x, 0) == doctest::Approx(exact(x, 0)).epsilon(1e-6).scale(0));
    }
  });
}

TEST_CASE("a NaN anywhere in a row makes its sum of exponentials NaN") {
  on_every_target(HWY_TARGETS, [] {
    for (std::size_t at = 0; at < 37; ++at) {
      for (const float rest : {0.0F, -200.0F, -testing::kInf}) {
        std::vector<float> x(37, rest);
        x[at] = testing::kNaN;
        CHECK(std::isnan(found(x, 0)));
      }
    }
  });
}

}  // namespace
}  // namespace mixflow
