// NumPy's .npy format, versions 1 to 3 (numpy.lib.format): a magic string, a Python dict as text,
// raw numbers.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "data/array.h"

namespace mixflow {

// Reads little-endian float32, float64, int32, int64, uint8 and bool, in C or Fortran order. Throws
// UserError, its message beginning with `name`: for other dtypes, headers that do not parse, and
// data shorter or longer than the header says.
Array parse_npy(std::span<const std::byte> file, const std::string& name);

}  // namespace mixflow
