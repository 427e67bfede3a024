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

// Reads every type of element_type.h and, for labels, texts ('<U', '|S'), in C or Fortran order.
// The numbers stay part of `file` where they are in row-major order already. Throws UserError, its
// message beginning with `name`: for other dtypes, headers that do not parse, and data shorter or
// longer than the header says.
Array parse_npy(const SharedBytes& file, const std::string& name);

// What the header says, of which `begin`, the file's first bytes, has the whole; the file has
// `file_bytes` in all. `owned_bytes`: what holding the file takes by itself; numbers that must be
// put in row-major order come on top.
ArraySchema parse_npy_schema(std::span<const std::byte> begin, std::size_t file_bytes,
                             const std::string& name, std::int64_t owned_bytes);

}  // namespace mixflow
