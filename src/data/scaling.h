// How the numbers of a table are scaled on their way into a batch, from statistics of its rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/array.h"
#include "data/facts.h"

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

// The smallest and the largest number of the table.
DataFacts::Values range_of(std::string name, const TableStatistics& statistics);

// For images of 0 .. 255 that stay as they are: what to set. Empty for others.
std::string advice_on_scale(const ArraySchema& x, const DataFacts::Values& range,
                            const std::string& normalize);

}  // namespace mixflow
