// NumPy's .npy format, versions 1 to 3 (numpy.lib.format): a magic string, a Python dict as text,
// raw numbers.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "data/array.h"

namespace mixflow {

// A .npy file taken apart: what its header says, and the raw numbers behind it, which are part of
// the file's bytes.
struct NpyParts {
  std::string descr;  // NumPy's type string: "<f4", "|u1"
  bool fortran_order = false;
  Shape shape;
  std::span<const std::byte> data;
};

// Throws UserError, its message beginning with `name`, for headers that do not parse.
NpyParts split_npy(std::span<const std::byte> file, const std::string& name);

// Throws UserError where the data are shorter or longer than `shape` numbers of `item_bytes` each;
// `dtype` is what messages call their type.
void check_npy_size(const NpyParts& parts, std::size_t item_bytes, const std::string& dtype,
                    const std::string& name);

// Reads little-endian float32, float64, int32, int64, uint8 and bool, in C or Fortran order. Throws
// UserError, its message beginning with `name`: for other dtypes, headers that do not parse, and
// data shorter or longer than the header says.
Array parse_npy(std::span<const std::byte> file, const std::string& name);

}  // namespace mixflow
