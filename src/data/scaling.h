// How the numbers of a table are scaled on their way into a batch, from statistics of its rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/array.h"

namespace mixflow {

// Column c's x becomes (x - mean[c]) * scale[c], or x / divisor where these are empty.
struct Scaling {
  std::vector<double> mean, scale;
  double divisor = 1;

  bool none() const { return mean.empty() && divisor == 1; }
  // `count` numbers, of columns first_column ... , in place.
  void apply(std::int64_t first_column, std::int64_t count, double* values) const;
};

// What one pass over a table finds: two for "standard".
struct TableStatistics {
  Scaling scaling;
  std::vector<double> low, high;  // of each column, over all rows, unscaled
};

// kind: "none"; "standard": each column to mean 0 and deviation 1 over the rows `training` (a
// constant column to 0); "unit": everything divided by the largest magnitude in those rows. Throws
// UserError for the first NaN or infinity, and for columns whose deviation no double holds.
TableStatistics statistics_of(const Array& table, const std::string& kind,
                              const std::vector<std::int64_t>& training);

}  // namespace mixflow
