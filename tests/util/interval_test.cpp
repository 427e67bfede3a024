#include "util/interval.h"

#include <doctest/doctest.h>

#include <cmath>
#include <initializer_list>
#include <limits>

using namespace mixflow;

TEST_CASE("moments lose no digits far from zero, and equal numbers have no variance") {
  Moments far, equal;
  for (const double x : {1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16}) far.add(x);
  CHECK(far.mean() == 1e9 + 10);
  CHECK(far.variance() == doctest::Approx(30));
  for (int i = 0; i < 100; ++i) equal.add(0.1);
  CHECK(equal.mean() == doctest::Approx(0.1));
  CHECK(equal.variance() == 0);
  Moments none, one;
  one.add(3);
  CHECK(none.variance() == 0);
  CHECK(one.variance() == 0);
  one.add(std::numeric_limits<double>::quiet_NaN());
  CHECK(std::isnan(one.mean()));
  CHECK(std::isnan(one.variance()));
}

TEST_CASE("intervals of means are Student's, those of shares Wilson's") {
  // t(3) at 97.5 % is 3.182446; of many numbers it is the normal's 1.96.
  CHECK(mean_ci95(4, 4) == doctest::Approx(3.182446));
  CHECK(mean_ci95(1, 1000000) == doctest::Approx(1.96e-3).epsilon(1e-4));
  CHECK(mean_ci95(4, 1) == 0);
  // 8 of 10: Wilson gives 0.4902 .. 0.9433 (Brown, Cai and DasGupta 2001).
  CHECK(share_ci95(0.8, 10) == doctest::Approx(0.8 - 0.4902).epsilon(1e-3));
  // All of 100 prove no certainty.
  CHECK(share_ci95(1, 100) == doctest::Approx(0.0370).epsilon(1e-2));
  CHECK(share_ci95(0, 100) == doctest::Approx(share_ci95(1, 100)));
}
