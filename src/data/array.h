// An array of numbers as a data file holds it, and the readers that make one.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace mixflow {

struct Array {
  std::string name;   // the file as the user wrote it, for messages: data/x.npy, data/all.npz:x
  std::string dtype;  // as the file says: float32, float64, int32, int64, uint8, bool; csv: number
  Shape shape;        // rank 0 and up; every extent >= 0
  std::vector<double> values;  // row-major, whatever the order in the file

  std::int64_t rows() const { return shape.empty() ? 0 : shape[0]; }
  // Numbers per row: the product of all extents but the first.
  std::int64_t width() const;
  std::string type() const { return dtype + to_string(shape); }  // float32[1797,64]
};

// Reads .npy, .npz:member or .csv (all its columns) by the file name. Throws UserError.
Array read_array(const std::string& path);

// Splits "dir/file.npz:member"; the member is empty if there is none.
std::pair<std::string, std::string> split_member(const std::string& path);

// Throws UserError naming the row and column (from 0) of the first NaN or infinity.
void check_finite(const Array& array);

}  // namespace mixflow
