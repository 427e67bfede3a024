#include "data/scaling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Extremes {
  std::vector<double> low, high;  // by column

  explicit Extremes(std::size_t width) : low(width, kInfinity), high(width, -kInfinity) {}
  void see(std::span<const double> row) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      low[c] = row[c] < low[c] ? row[c] : low[c];
      high[c] = row[c] > high[c] ? row[c] : high[c];
    }
  }
};

double largest_magnitude(const Extremes& extremes) {
  double largest = 0;
  for (const double v : extremes.low) largest = std::max(largest, std::abs(v));
  for (const double v : extremes.high) largest = std::max(largest, std::abs(v));
  return largest;
}

void check_block(const Array& table, std::int64_t first, std::span<const double> values) {
  if (table.element->kind != ElementType::Kind::floating) return;
  int bad = 0;  // without a branch: the loop becomes vector instructions
  for (const double v : values) bad |= static_cast<int>(!(std::abs(v) < kInfinity));
  if (bad == 0) return;
  const auto found = std::ranges::find_if(values, [](double v) { return !std::isfinite(v); });
  fail_not_finite(table, first + (found - values.begin()), *found);
}

// Rows of the table one by one, in order: `see(row, in_training, values)`.
void for_each_row(const Array& table, const std::vector<bool>& in_training, const auto& see) {
  const auto width = static_cast<std::size_t>(table.width());
  for_each_block(table, [&](std::int64_t first, std::int64_t rows, std::span<const double> values) {
    check_block(table, first * table.width(), values);
    for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
      see(in_training[static_cast<std::size_t>(first) + i], values.subspan(i * width, width));
    }
  });
}

// Scale of each column from its mean. Constant columns are told by their values: rounding leaves
// them a deviation of about 1e-17, not 0.
void standardize(Scaling& scaling, const Array& table, const std::vector<bool>& in_training,
                 double count, const Extremes& training) {
  const std::size_t width = scaling.mean.size();
  std::vector<double> square(width, 0.0);
  for_each_row(table, in_training, [&](bool used, std::span<const double> row) {
    if (!used) return;
    for (std::size_t c = 0; c < width; ++c) {
      const double distance = row[c] - scaling.mean[c];
      square[c] += distance * distance / count;
    }
  });
  scaling.scale.assign(width, 1.0);
  for (std::size_t c = 0; c < width; ++c) {
    if (training.low[c] == training.high[c]) {
      scaling.mean[c] = training.low[c];
      continue;
    }
    scaling.scale[c] = 1.0 / std::sqrt(square[c]);
    if (std::isfinite(scaling.scale[c]) && scaling.scale[c] > 0) continue;
    throw UserError(table.name + ": column " + std::to_string(c) +
                    " (from 0) has a deviation that no float64 holds, so data.normalize: standard "
                    "cannot scale it; scale the data before");
  }
}

}  // namespace

void Scaling::apply(std::int64_t first_column, std::int64_t count, double* values) const {
  if (!mean.empty()) {
    const double* from = mean.data() + first_column;
    const double* by = scale.data() + first_column;
    for (std::int64_t i = 0; i < count; ++i) values[i] = (values[i] - from[i]) * by[i];
  } else if (divisor != 1) {
    for (std::int64_t i = 0; i < count; ++i) values[i] /= divisor;
  }
}

TableStatistics statistics_of(const Array& table, const std::string& kind,
                              const std::vector<std::int64_t>& training) {
  const bool standard = kind == "standard", unit = kind == "unit";
  MIXFLOW_CHECK(standard || unit || kind == "none",
                "the loader lets only known values of data.normalize pass: " + kind);
  std::vector<bool> in_training(static_cast<std::size_t>(table.rows()));
  for (const std::int64_t row : training) in_training[static_cast<std::size_t>(row)] = true;
  const auto width = static_cast<std::size_t>(table.width());
  const auto count = static_cast<double>(training.size());

  TableStatistics result;
  std::vector<double> mean(standard ? width : 0, 0.0);
  Extremes used(width), others(width);
  for_each_row(table, in_training, [&](bool in, std::span<const double> row) {
    (in ? used : others).see(row);
    if (!in) return;
    for (std::size_t c = 0; c < mean.size(); ++c) mean[c] += row[c] / count;
  });
  if (standard) {
    result.scaling.mean = std::move(mean);
    standardize(result.scaling, table, in_training, count, used);
  } else if (unit && !training.empty()) {
    const double largest = largest_magnitude(used);
    if (largest > 0) result.scaling.divisor = largest;
  }
  for (std::size_t c = 0; c < width; ++c) {
    others.low[c] = std::min(others.low[c], used.low[c]);
    others.high[c] = std::max(others.high[c], used.high[c]);
  }
  result.low = std::move(others.low);
  result.high = std::move(others.high);
  return result;
}

DataFacts::Values range_of(std::string name, const TableStatistics& statistics) {
  return {std::move(name), *std::ranges::min_element(statistics.low),
          *std::ranges::max_element(statistics.high)};
}

std::string advice_on_scale(const ArraySchema& x, const DataFacts::Values& range,
                            const std::string& normalize) {
  const bool image = x.element->name == "uint8" || x.shape.size() > 2;
  if (normalize != "none" || !image || range.smallest < 0 || range.largest <= 100 ||
      range.largest > 255) {
    return "";
  }
  return "x goes from " + formatted("%g", range.smallest) + " to " +
         formatted("%g", range.largest) +
         " and is not scaled, so inner steps may diverge; data.normalize: unit divides by the "
         "largest";
}

}  // namespace mixflow
