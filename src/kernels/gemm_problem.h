// A product's shape with everything resolved: what the kernels behind make_gemm are built from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/gemm.h"
#include "kernels/team.h"

namespace mixflow {

// One product; all sizes are in floats (in words, where a factor comes packed).
struct GemmFactors {
  std::int64_t k;
  bool trans_a, trans_b, packed_a, packed_b;
  std::int64_t a_batch, b_batch;  // elements from one batch entry to the next
  std::size_t a_input, b_input;   // their positions among the kernel's inputs
};

// The shape after normalisation. n == 1 has been turned into m == 1 (the same bytes, C being one
// row then), so that vectors lie along C; factors that are vectors are never transposed.
struct GemmProblem {
  std::int64_t batch, m, n;
  std::vector<GemmFactors> products;
  std::size_t z_input = 0;
  bool add_z;
  int threads;
  const GemmKernels* kernels;

  std::int64_t size() const { return m * n; }
  // Whether whole batch entries go to threads: each on one thread beats parts of entries, if none
  // is left idle.
  bool by_batch() const {
    return threads > 1 && (batch % threads == 0 || batch >= std::int64_t{4} * threads);
  }
};

// `shape` with everything resolved.
GemmProblem normalise(const GemmShape& shape);

// A part of C: what one thread makes on its own.
struct GemmPart {
  std::int64_t row, rows, column, columns;
};

// C's parts, at most one for each thread (all of C, where threads take whole batch entries), cut at
// multiples of `unit`: even ones, and such that little is packed by more than one thread. With
// `rows_stay`, rows of A that are not transposed are not packed.
std::vector<GemmPart> parts_of(const GemmProblem& problem, std::int64_t unit,
                               bool rows_stay = false);

// work(b, part, thread) for every part of every batch entry, each thread its share of them.
template <class Work>
void share_parts(const GemmProblem& problem, const std::vector<GemmPart>& parts, const Work& work) {
  const auto count = static_cast<std::int64_t>(parts.size());
  share_items(problem.threads, problem.batch * count, [&](std::int64_t item, int thread) {
    work(item / count, parts[static_cast<std::size_t>(item % count)], thread);
  });
}

// Inputs rounded to bf16, sums in f32, by kernels that have blocks (bf16_gemm.cpp),
std::unique_ptr<Kernel> make_bf16_gemm(GemmProblem problem, const Bf16Kernels& kernels);
// and by the f32 kernels from panels, of rounded operands unless `rounding` is null
// (panel_gemm.cpp).
std::unique_ptr<Kernel> make_panel_gemm(GemmProblem problem, const Bf16Kernels* rounding);

}  // namespace mixflow
