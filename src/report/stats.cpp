#include "report/stats.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "util/interval.h"

namespace mixflow {
namespace {

Moments moments_of(std::span<const double> values) {
  Moments moments;
  for (const double value : values) moments.add(value);
  return moments;
}

double median_of(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

}  // namespace

std::optional<double> aggregate(Agg agg, std::span<const double> values) {
  if (agg == Agg::count) return static_cast<double>(values.size());
  if (values.size() < (agg == Agg::std ? 2U : 1U)) return std::nullopt;
  const bool has_nan = std::ranges::any_of(values, [](double x) { return std::isnan(x); });
  if (has_nan) return std::numeric_limits<double>::quiet_NaN();
  switch (agg) {
    case Agg::mean:
      return moments_of(values).mean();
    case Agg::median:
      return median_of(values);
    case Agg::min:
      return std::ranges::min(values);
    case Agg::max:
      return std::ranges::max(values);
    default:
      return std::sqrt(moments_of(values).variance());
  }
}

std::optional<double> ci95(std::span<const double> values) {
  if (values.size() < 2) return std::nullopt;
  const Moments moments = moments_of(values);
  return mean_ci95(moments.variance(), moments.count());
}

}  // namespace mixflow
