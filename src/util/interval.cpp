#include "util/interval.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>

namespace mixflow {

double mean_ci95(double variance, std::int64_t n) {
  if (n < 2) return 0;
  const auto count = static_cast<double>(n);
  const boost::math::students_t distribution(count - 1);
  return boost::math::quantile(distribution, 0.975) * std::sqrt(variance / count);
}

double share_ci95(double share, std::int64_t n) {
  constexpr double kZ = 1.959963984540054;
  const auto count = static_cast<double>(n);
  const double scale = 1 + kZ * kZ / count;
  const double middle = (share + kZ * kZ / (2 * count)) / scale;
  const double half =
      kZ / scale * std::sqrt(share * (1 - share) / count + kZ * kZ / (4 * count * count));
  return std::max(middle + half - share, share - (middle - half));
}

}  // namespace mixflow
