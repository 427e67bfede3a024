// Reductions of dense f32 arrays that stand alone; those next to elementwise work belong to fused
// kernels.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/kernel.h"

namespace mixflow {

enum class Reduction : std::uint8_t { sum, max };

// in[0] of `shape` reduced over `axes` (ascending), which are removed. Sums are formed in f64 or in
// f32 over at most 1024 elements; the order depends on the shape only, never on `threads`. An empty
// sum is 0, an empty max -inf.
std::unique_ptr<Kernel> make_reduce(Reduction reduction, const std::vector<std::int64_t>& shape,
                                    const std::vector<std::int64_t>& axes, int threads);

// out[i] = log sum_j e^in[i][j] for i < rows, j < cols: shifted by the row's maximum, so nothing
// overflows.
std::unique_ptr<Kernel> make_logsumexp(std::int64_t rows, std::int64_t cols, int threads);

}  // namespace mixflow
