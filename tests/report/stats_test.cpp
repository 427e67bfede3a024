#include "report/stats.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

using namespace mixflow;

TEST_CASE("aggregations of a few numbers are what one finds by hand") {
  const std::vector<double> values = {4, 1, 3, 10};
  CHECK(*aggregate(Agg::mean, values) == 4.5);
  CHECK(*aggregate(Agg::median, values) == 3.5);
  CHECK(*aggregate(Agg::min, values) == 1);
  CHECK(*aggregate(Agg::max, values) == 10);
  CHECK(*aggregate(Agg::count, values) == 4);
  CHECK(*aggregate(Agg::std, values) == doctest::Approx(std::sqrt(15)));
}

TEST_CASE("too few numbers have no deviation and no interval, and NaN is not passed over") {
  const std::vector<double> one = {4}, none;
  CHECK(!aggregate(Agg::std, one));
  CHECK(!ci95(one));
  CHECK(!aggregate(Agg::mean, none));
  CHECK(*aggregate(Agg::count, none) == 0);
  const std::vector<double> diverged = {1, std::numeric_limits<double>::quiet_NaN(), 2};
  CHECK(std::isnan(*aggregate(Agg::median, diverged)));
  CHECK(std::isnan(*aggregate(Agg::min, diverged)));
}

TEST_CASE("the interval is Student's t at 97.5 % times the standard error") {
  // Quantiles from the usual table: 12.706 (1 degree of freedom), 2.776 (4).
  const std::vector<double> two = {1, 3}, five = {1, 2, 3, 4, 5};
  CHECK(*ci95(two) == doctest::Approx(12.706 * 1).epsilon(1e-4));
  CHECK(*ci95(five) == doctest::Approx(2.776 * std::sqrt(2.5 / 5)).epsilon(1e-3));
}
