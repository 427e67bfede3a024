// SIMD loops over runs of f32, one table per instruction set: what reductions and scatter-add are
// made of.
#pragma once

#include <cstdint>

namespace mixflow {

struct RowKernels {
  // Sum of x[0..n): f32 partial sums over at most 1024 elements, f64 beyond.
  double (*sum)(const float* x, std::int64_t n);
  // Largest of x[0..n), -inf if n is 0; NaNs may be passed over.
  float (*max)(const float* x, std::int64_t n);
  // Sum of e^(x[i] - shift); terms below the smallest normal float may be left out. shift is finite
  // and not below any x[i]. NaN if an x[i] is.
  double (*sum_exp)(const float* x, std::int64_t n, float shift);
  // sums[i] += x[i]
  void (*accumulate)(double* sums, const float* x, std::int64_t n);
  // y[i] += x[i]
  void (*add)(float* y, const float* x, std::int64_t n);
  // y[i] = max(y[i], x[i])
  void (*max_into)(float* y, const float* x, std::int64_t n);
};

const RowKernels& row_kernels();

}  // namespace mixflow
