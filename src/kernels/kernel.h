// What a lowered node is: a kernel with declared scratch, built once and run many times without
// allocating.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mixflow {

// Elementwise and row operations that the fused tile interpreter knows (kernels/fused.h).
// clang-format off
enum class TileOp : std::uint8_t {
  none,
  // unary
  copy, neg, exp, log, sqrt, rsqrt, reciprocal, square, tanh, sigmoid, softplus, sin, cos, abs, sign, relu, step,
  // binary
  add, sub, mul, div, max, min, pow, less, equal,
  // ternary
  select,
  // two binary ops in one pass: a b + c, a b - c, c - a b, a b c, (a + b) c, (a - b) c, a + b + c, (a - b) + c. Made
  // by the compiler of fused kernels from pairs of ops; no graph op has them.
  mul_add, mul_sub, sub_mul, mul_mul, sum_mul, diff_mul, add_add, diff_add,
  // sources
  full, iota,
  // shape changes inside the tile
  broadcast, reverse,
  // reductions
  sum, max_reduce,
};
// clang-format on

class Kernel {
 public:
  explicit Kernel(std::int64_t scratch = 0) : scratch_bytes(scratch) {}
  virtual ~Kernel() = default;
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;

  // Reads in[i], writes out[j]; all are dense row-major buffers of the lowered types. `scratch` has
  // scratch_bytes bytes, aligned to 64. Allocates nothing; may run on several threads at once with
  // different buffers.
  virtual void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const = 0;

  const std::int64_t scratch_bytes;
};

}  // namespace mixflow
