// The vector code of the tile interpreter: one function per TileOp and kind of operands, each a
// plain loop over a tile in L1. The functions are picked once, when a kernel is compiled, for the
// CPU that runs it.
//
// Accuracy against exact results: arithmetic, sqrt and division are correctly rounded; exp, log,
// tanh, sigmoid, softplus, sin, cos within 4 ulp for all finite arguments, results near the
// underflow threshold excepted; rsqrt within 2 ulp. NaN in, NaN out. Sums use several vector
// accumulators, combined in a fixed order (in machine code, tile_code.h, short ones use one).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel.h"

namespace mixflow {

// dst[i] = op(a[i], b[i], c[i]) for i < n. dst may be equal to any operand. Operands that the op
// does not have are ignored; a splatted operand is one float, used for all i.
using TileFn = void (*)(float* dst, const float* a, const float* b, const float* c, std::size_t n);

enum Splat : unsigned { kSplatNone = 0, kSplatA = 1, kSplatB = 2, kSplatC = 4 };

// The function of an elementwise op, or null if there is none for these splats: unary ops take none
// (copy may splat: it then fills), binary ops one of the two, select b and c in any combination,
// the other ternary ops all but all three.
TileFn tile_fn(TileOp op, unsigned splats);

// Whether these functions are those for AVX-512.
bool tile_fns_use_avx512();

// A tile of `rows` dense rows of `cols` floats, against one float per row or one row. dst and src
// do not overlap.
using RowFn = void (*)(float* dst, const float* src, std::size_t rows, std::size_t cols);

struct RowFns {
  RowFn sum;         // dst[r] = sum of row r; 0 without columns
  RowFn sum_more;    // dst[r] += sum of row r
  RowFn max;         // dst[r] = largest of row r; -inf without columns, NaN if one is NaN
  RowFn max_more;    // dst[r] = max(dst[r], largest of row r)
  RowFn column_sum;  // dst[c] += sum over r of row r, column c
  RowFn expand;      // row r of dst = src[r]
  RowFn repeat;      // row r of dst = src[0..cols)
  // dst[r * cols + c] = first + c
  void (*iota)(float* dst, std::int64_t first, std::size_t rows, std::size_t cols);
};
const RowFns& row_fns();

}  // namespace mixflow
