// An array as a data file holds it: its type and shape, and its numbers in the file's own form,
// which become float or double where they are used.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/element_type.h"
#include "graph/graph.h"
#include "util/shared_bytes.h"

namespace mixflow {

// What an array is, without its numbers.
struct ArraySchema {
  std::string name;  // the file as the user wrote it, for messages: data/x.npy, data/all.npz:x
  const ElementType* element = &number_element();
  Shape shape;  // rank 0 and up; every extent >= 0
  // What the numbers take of the process's own memory: those of a plain .npy take nothing, they are
  // mapped.
  std::int64_t owned_bytes = 0;

  std::int64_t rows() const { return shape.empty() ? 0 : shape[0]; }
  // Numbers per row: the product of all extents but the first.
  std::int64_t width() const;
  std::int64_t elements() const { return num_elements(shape); }
  std::string type() const;  // float32[1797,64]
};

struct Array : ArraySchema {
  SharedBytes bytes;  // row-major, elements() of them
  // An array of texts holds codes: text i is texts[code i]. They are distinct, in the order of
  // their first row.
  std::vector<std::string> texts;

  // Elements `first` .. `first + count - 1`, in row-major order, to `to`. Allocates nothing.
  void read(std::int64_t first, std::int64_t count, double* to) const;
  void read(std::int64_t first, std::int64_t count, float* to) const;
  const std::byte* at(std::int64_t element) const;
};

// Numbers that were computed or parsed: an array of type "number".
Array number_array(std::string name, Shape shape, std::vector<double> values);
// All elements, for small arrays.
std::vector<double> values_of(const Array& array);

// Collects a column of texts, each distinct one kept once.
class TextColumn {
 public:
  void add(std::string_view text);
  // An array of texts [rows].
  Array finish(std::string name);

 private:
  std::map<std::string, std::int32_t, std::less<>> codes_;
  std::vector<std::string> texts_;
  std::vector<std::byte> of_row_;
};

// Shows every row once, in order, as doubles: block after block of a megabyte or so, letting go of
// a mapped file's pages behind it. `see(first_row, rows, values)`.
void for_each_block(
    const Array& array,
    const std::function<void(std::int64_t, std::int64_t, std::span<const double>)>& see);

// Reads .npy, .npz:member or .csv (all its columns) by the file name; plain .npy files and members
// that are not compressed are mapped. Throws UserError.
Array read_array(const std::string& path);
// The same without the numbers: reads as little of the file as tells them.
ArraySchema read_array_schema(const std::string& path);

// Splits "dir/file.npz:member"; the member is empty if there is none.
std::pair<std::string, std::string> split_member(const std::string& path);

// Throws UserError naming the row and column (from 0) of the first NaN or infinity.
void check_finite(const Array& array);
// For whoever looks at the numbers anyway: `index` is the element's.
[[noreturn]] void fail_not_finite(const Array& array, std::int64_t index, double value);

}  // namespace mixflow
