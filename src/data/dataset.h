// A data set in memory: numbers x per example, and one target each, checked against the loss that
// will read them.
#pragma once

#include <optional>
#include <string>

#include "data/array.h"
#include "data/source.h"

namespace mixflow {

// Where a data set comes from, as in the config.
struct DatasetFiles {
  std::string x, y;           // y may be empty for a .csv that holds the target as a column
  std::string target_column;  // of the .csv in x
};

// x [N, features] (higher ranks are flattened) and y [N, outputs], all finite, N >= 1 in both.
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

// Numbers that rows are copied from into a batch. Held once, in the precision that the experiment
// runs in; a batch of the other precision (a check in f64 of an f32 run) gets them converted.
class Rows {
 public:
  Rows() = default;
  // Throws UserError if `precision` is f32 and a number is too large for it.
  Rows(Array array, Precision precision);

  std::int64_t width() const { return width_; }
  // Writes row `row` as the `position`-th of the batch at `out`.
  void copy(std::int64_t row, Precision precision, std::byte* out, std::int64_t position) const;

 private:
  std::vector<float> f32_;  // one of the two is empty
  std::vector<double> f64_;
  std::int64_t width_ = 0;
};

// The field y of a batch of class labels: i32 [B] for cross_entropy, numbers 0 and 1 [B,1] for bce.
Field label_field(Loss loss);
// Width of the model's output for that many classes: one logit per class, or a single one for bce.
std::int64_t label_width(Loss loss, int classes);
// Writes one label as the `position`-th of the batch at `out`.
void write_label(Loss loss, Precision precision, std::int32_t label, std::byte* out,
                 std::int64_t position);

// Scales x by statistics of the rows `training` alone. kind: "none"; "standard": each column to
// mean 0 and deviation 1 (a constant column to 0); "unit": everything divided by the largest
// magnitude.
void normalize(Array& x, const std::string& kind, const std::vector<std::int64_t>& training);

}  // namespace mixflow
