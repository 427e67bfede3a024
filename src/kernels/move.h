// Kernels that only move 4-byte elements (f32 and i32 alike), or make them from nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/kernel.h"

namespace mixflow {

// One copy loop: for every index of `size`, to[to_start + index . to] = from[from_start + index .
// from], strides in elements. No element is written twice. Source strides may be zero (broadcast)
// or negative (reversal).
struct StridedCopy {
  std::vector<std::int64_t> size, from, to;
  std::int64_t from_start = 0;
  std::int64_t to_start = 0;
};

// out[0] = the copies of in[i] by copies[i], in order. If `zero_elements` > 0, so many leading
// elements of the output are zeroed first.
std::unique_ptr<Kernel> make_copy(std::vector<StridedCopy> copies, std::int64_t zero_elements,
                                  int threads);

// out[0][0..elements) = the 4 bytes `bits`.
std::unique_ptr<Kernel> make_fill(std::uint32_t bits, std::int64_t elements, int threads);

// out[0][o, i, j] = i for i < size, j < inner, o < outer; as f32 or i32.
std::unique_ptr<Kernel> make_iota(std::int64_t outer, std::int64_t size, std::int64_t inner,
                                  bool as_float);

// i32 to f32, or f32 to i32 by truncation; values outside i32 (and NaN) become its nearest bound
// (0).
std::unique_ptr<Kernel> make_convert(std::int64_t elements, bool to_float);

// in[0]: i32 [n]; out[0]: f32 [n, depth] with 1 at each index, which must be in [0, depth) or else
// its row is zero.
std::unique_ptr<Kernel> make_one_hot(std::int64_t n, std::int64_t depth);

// in[0]: [rows, width], in[1]: i32 [n]; out[0][i] = in[0][in[1][i]]. Throws InternalError on an
// index outside.
std::unique_ptr<Kernel> make_gather(std::int64_t rows, std::int64_t width, std::int64_t n,
                                    int threads);

// in[0]: f32 [n, width], in[1]: i32 [n]; out[0]: f32 [rows, width], the sum of the in[0][i] with
// in[1][i] == row, in ascending i. Throws InternalError on an index outside.
std::unique_ptr<Kernel> make_scatter_add(std::int64_t rows, std::int64_t width, std::int64_t n,
                                         int threads);

}  // namespace mixflow
