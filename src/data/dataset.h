// A data set: numbers x per example, and one target each, checked against the loss that
// will read them.
#pragma once

#include <optional>
#include <string>

#include "data/array.h"
#include "data/facts.h"
#include "data/scaling.h"
#include "data/source.h"

namespace mixflow {

// Where a data set comes from, as in the config.
struct DatasetFiles {
  std::string x, y;
};

// x [N, ...], an example's own axes as the file has them, and y [N] or [N, outputs], N >= 1 in
// both. Whether all are finite is found by whoever reads them first (scaling.h, labels.h).
struct Dataset {
  Array x;
  Array y;
};

// Reads the files, which are found relative to the working directory or else to the config file.
// Throws UserError for a missing file, with the command that fetches it if it is one of the
// project's own, and for files that do not hold a data set.
Dataset read_dataset(const DatasetFiles& files, const Config& config);

// The same without the numbers of x, which are not read.
struct DatasetOutline {
  ArraySchema x;
  Array y;
};
DatasetOutline read_outline(const DatasetFiles& files, const Config& config);

// Throws UserError where x is not [examples, ..] of numbers, y not [examples] or [examples,
// outputs], one of them is empty, or they differ in length.
void check_shapes(const ArraySchema& x, const ArraySchema& y);

// Name, shape and size, for DataFacts.
DataFacts::File file_of(const ArraySchema& array);

// Numbers that rows are copied from into a batch: the file's own, which are converted and scaled as
// they are copied. With precision f32 they are numbers of float32 to a batch of f64 too (a check in
// f64 of an f32 run).
class Rows {
 public:
  Rows() = default;
  // Throws UserError if `precision` is f32 and a scaled number is too large for it.
  Rows(Array array, TableStatistics statistics, Precision precision);

  std::int64_t width() const { return width_; }
  // Writes row `row` as the `position`-th of the batch at `out`. Allocates nothing.
  void copy(std::int64_t row, Precision precision, std::byte* out, std::int64_t position) const;
  // Lets go of the file's pages that hold these rows alone, until they are copied again.
  void release(std::int64_t begin_row, std::int64_t end_row) const;

 private:
  template <class To>
  void copy_scaled(std::int64_t first, To* out) const;

  Array array_;
  Scaling scaling_;
  std::int64_t width_ = 0;
  bool single_ = false;         // numbers are rounded to float32
  std::vector<float> by_byte_;  // of types of one byte: what each becomes
};

}  // namespace mixflow
