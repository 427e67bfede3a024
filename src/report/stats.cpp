#include "report/stats.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <limits>
#include <vector>

namespace mixflow {
namespace {

double mean_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double median_of(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

double deviation_of(std::span<const double> values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

}  // namespace

std::optional<double> aggregate(Agg agg, std::span<const double> values) {
  if (agg == Agg::count) return static_cast<double>(values.size());
  if (values.size() < (agg == Agg::std ? 2U : 1U)) return std::nullopt;
  const bool has_nan = std::ranges::any_of(values, [](double x) { return std::isnan(x); });
  if (has_nan) return std::numeric_limits<double>::quiet_NaN();
  switch (agg) {
    case Agg::mean:
      return mean_of(values);
    case Agg::median:
      return median_of(values);
    case Agg::min:
      return std::ranges::min(values);
    case Agg::max:
      return std::ranges::max(values);
    default:
      return deviation_of(values);
  }
}

std::optional<double> ci95(std::span<const double> values) {
  if (values.size() < 2) return std::nullopt;
  const auto n = static_cast<double>(values.size());
  const boost::math::students_t distribution(n - 1);
  return boost::math::quantile(distribution, 0.975) * deviation_of(values) / std::sqrt(n);
}

}  // namespace mixflow
