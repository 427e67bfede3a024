// The search for infinities and NaN.
#include "util/finite.h"

#include <doctest/doctest.h>

#include <limits>
#include <vector>

using namespace mixflow;

namespace {

// Finite everywhere, largest and smallest magnitudes among them; then with one value put at each
// of some places.
template <class Float>
void check_places() {
  using Limits = std::numeric_limits<Float>;
  std::vector<Float> values(10'000, Limits::max());
  for (std::size_t i = 0; i < values.size(); i += 3) values[i] = -Limits::max();
  for (std::size_t i = 1; i < values.size(); i += 3) values[i] = Limits::denorm_min();
  CHECK_FALSE(first_non_finite(std::span<const Float>(values)).has_value());
  for (const Float bad : {Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN()}) {
    for (const std::size_t at : {0, 1, 4095, 4096, 9999}) {
      const Float was = values[at];
      values[at] = bad;
      values.back() = bad;
      CHECK(first_non_finite(std::span<const Float>(values)) == at);
      values[at] = was;
      values.back() = Limits::max();
    }
  }
}

}  // namespace

TEST_CASE("the first infinity or NaN of many numbers is found, wherever it is") {
  check_places<float>();
  check_places<double>();
  CHECK_FALSE(first_non_finite(std::span<const float>()).has_value());
}
