// Products of f32 matrices: C[b] = (sum over products p of op(A_p[b])·op(B_p[b])) + Z[b],
// row-major, for b < batch.
//
// Small and thin shapes run on our own register-tiled kernels (small_gemm.h): nothing is decided,
// built or allocated when they run. Large ones go by parts to oneDNN's sgemm, or without AVX-512 or
// memory for code by panels to the same kernels (panel_gemm.cpp). Which, how rows are tiled and
// what is turned or packed into scratch is settled here, once. With `bf16`, the products that gain
// by it are computed from operands rounded to bf16, with sums in f32 (bf16_gemm.cpp,
// panel_gemm.cpp).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/bf16_kernels.h"
#include "kernels/kernel.h"
#include "kernels/small_gemm.h"

namespace mixflow {

struct GemmProduct {
  std::int64_t k = 0;
  bool trans_a = false;  // A is stored [k, m] instead of [m, k]
  bool trans_b = false;  // B is stored [n, k] instead of [k, n]
  // Elements from one batch entry to the next: -1 dense, 0 the same matrix for all.
  std::int64_t a_batch = -1;
  std::int64_t b_batch = -1;
  // Packed by make_bf16_pack: only in shapes that gemm_takes_bf16, sizes multiples of 32.
  bool packed_a = false, packed_b = false;
};

struct GemmShape {
  std::int64_t batch = 1;
  std::int64_t m = 0;
  std::int64_t n = 0;
  std::vector<GemmProduct> products;
  bool add_z = false;  // there is a Z, dense like C
  int threads = 1;     // how many threads one run may use; 1 inside a parallel region
  bool bf16 = false;   // operands may be rounded to bf16 (gemm_takes_bf16)
  // For tests; null: the best for this CPU.
  const GemmKernels* kernels = nullptr;
  const Bf16Kernels* bf16_kernels = nullptr;
};

// Inputs of the kernel: A_0, B_0, A_1, B_1, .. (, Z); one output C, which may be Z's buffer and no
// other input's. The same inputs give the same bits in every run, whether or not C is Z's buffer.
std::unique_ptr<Kernel> make_gemm(const GemmShape& shape);

// Whether a product of this size (of one batch entry) runs on our own kernels as it lies.
bool gemm_is_small(std::int64_t m, std::int64_t n, std::int64_t k);

// Whether the operands of a product of this size are rounded to bf16 where they may be: where
// multiplying in bf16 saves more time than packing takes. The same on every CPU.
bool gemm_takes_bf16(std::int64_t m, std::int64_t n, std::int64_t k);

}  // namespace mixflow
