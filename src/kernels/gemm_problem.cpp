#include "kernels/gemm_problem.h"

#include <algorithm>
#include <utility>

#include "kernels/bf16_pack.h"
#include "kernels/team.h"

namespace mixflow {
namespace {

// Multiplications and additions in the time that one element takes to be packed.
constexpr double kPackedElement = 24;
constexpr double kTurned = 1.25;  // times that where it is transposed

std::int64_t quotient_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

}  // namespace

GemmProblem normalise(const GemmShape& shape) {
  GemmProblem p{shape.batch,
                shape.m,
                shape.n,
                {},
                shape.products.size() * 2,
                shape.add_z,
                std::max(shape.threads, 1),
                shape.kernels != nullptr ? shape.kernels : &gemm_kernels()};
  const bool swap = shape.n == 1 && shape.m > 1;
  if (swap) std::swap(p.m, p.n);
  for (std::size_t i = 0; i < shape.products.size(); ++i) {
    const GemmProduct& from = shape.products[i];
    if (from.k == 0) continue;
    GemmFactors to{.k = from.k,
                   .trans_a = from.trans_a,
                   .trans_b = from.trans_b,
                   .packed_a = from.packed_a,
                   .packed_b = from.packed_b,
                   .a_batch = from.a_batch,
                   .b_batch = from.b_batch,
                   .a_input = 2 * i,
                   .b_input = 2 * i + 1};
    if (to.a_batch < 0) to.a_batch = from.packed_a ? bf16_words(shape.m, from.k) : shape.m * from.k;
    if (to.b_batch < 0) to.b_batch = from.packed_b ? bf16_words(shape.n, from.k) : from.k * shape.n;
    if (swap) {  // (A·B)ᵀ = Bᵀ·Aᵀ
      to.trans_a = !from.trans_b;
      to.trans_b = !from.trans_a;
      std::swap(to.a_batch, to.b_batch);
      std::swap(to.a_input, to.b_input);
    }
    if (p.m == 1 || to.k == 1) to.trans_a = false;
    if (p.n == 1 || to.k == 1) to.trans_b = false;
    p.products.push_back(to);
  }
  return p;
}

std::vector<GemmPart> parts_of(const GemmProblem& problem, std::int64_t unit, bool rows_stay) {
  if (problem.by_batch()) return {{0, problem.m, 0, problem.n}};
  double terms = 0, a_terms = 0, b_terms = 0;  // of all products, of those that are packed here
  for (const GemmFactors& f : problem.products) {
    const auto k = static_cast<double>(f.k);
    terms += k;
    a_terms += f.packed_a || (rows_stay && !f.trans_a) ? 0 : f.trans_a ? kTurned * k : k;
    b_terms += f.packed_b ? 0 : f.trans_b ? kTurned * k : k;
  }
  const std::int64_t down = quotient_up(problem.m, unit), across = quotient_up(problem.n, unit);
  std::int64_t best = 1;
  double least = 0;
  for (std::int64_t by_rows = 1; by_rows <= problem.threads; ++by_rows) {
    const auto rows = static_cast<double>(quotient_up(down, by_rows) * unit);
    const auto columns = static_cast<double>(quotient_up(across, problem.threads / by_rows) * unit);
    const double time =
        rows * columns * terms + kPackedElement * (rows * a_terms + columns * b_terms);
    if (by_rows > 1 && time >= least) continue;
    best = by_rows;
    least = time;
  }
  const std::int64_t by_columns = problem.threads / best;
  std::vector<GemmPart> parts;
  for (std::int64_t i = 0; i < best; ++i) {
    const auto [top, bottom] = share_of(down, i, best);
    for (std::int64_t j = 0; j < by_columns; ++j) {
      const auto [left, right] = share_of(across, j, by_columns);
      if (top == bottom || left == right) continue;
      parts.push_back({top * unit, std::min(bottom * unit, problem.m) - top * unit, left * unit,
                       std::min(right * unit, problem.n) - left * unit});
    }
  }
  return parts;
}

}  // namespace mixflow
