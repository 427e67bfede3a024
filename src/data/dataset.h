// A data set: numbers x per example, and one target each, checked against the loss that
// will read them.
#pragma once

#include <optional>
#include <string>

#include "data/array.h"
#include "data/scaling.h"
#include "data/source.h"

namespace mixflow {

// Where a data set comes from, as in the config.
struct DatasetFiles {
  std::string x, y;           // y may be empty for a .csv that holds the target as a column
  std::string target_column;  // of the .csv in x
};

// x [N, features] (higher ranks are flattened) and y [N, outputs], N >= 1 in both. Whether all are
// finite is found by whoever reads them first (scaling.h, read_labels).
struct Dataset {
  Array x;
  Array y;
};

// Reads the files, which are found relative to the working directory or else to the config file.
// Throws UserError for a missing file, with the command that fetches it if it is one of the
// project's own, and for files that do not hold a data set.
Dataset read_dataset(const DatasetFiles& files, const Config& config);

// Class labels 0 .. C-1, each of them used, C >= 2.
struct Labels {
  std::vector<std::int32_t> of_row;
  int classes = 0;
};

// Throws UserError naming the row of the first label that is not a whole number >= 0, the first
// class that no row has, or the only class.
Labels read_labels(const Array& y);

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

// The field y of a batch of class labels: i32 [B] for cross_entropy, numbers 0 and 1 [B,1] for bce.
Field label_field(Loss loss);
// Width of the model's output for that many classes: one logit per class, or a single one for bce.
std::int64_t label_width(Loss loss, int classes);
// Writes one label as the `position`-th of the batch at `out`.
void write_label(Loss loss, Precision precision, std::int32_t label, std::byte* out,
                 std::int64_t position);

}  // namespace mixflow
