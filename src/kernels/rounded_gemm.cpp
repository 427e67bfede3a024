// Products in bf16 on CPUs without instructions for them: operands rounded into scratch, then
// multiplied in f32. As exact as the products of other CPUs: the product of two bf16 is exact in
// f32, and sums are in f32 everywhere.
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/bf16_pack.h"
#include "kernels/gemm_problem.h"
#include "kernels/onednn.h"

namespace mixflow {
namespace {

// To whole cache lines.
std::int64_t lines(std::int64_t floats) { return (floats + 15) / 16 * 16; }

const float* floats(const std::byte* p) { return reinterpret_cast<const float*>(p); }

// A stored matrix, or part of one.
struct Part {
  const float* data;
  std::ptrdiff_t ld;
  std::int64_t rows, columns;
};

// Dense, each thread of the team some rows of it.
void round_part(const Bf16Kernels& kernels, const Part& part, float* to, Team team) {
  const auto [first, last] = team.share(part.rows);
  kernels.round(part.data + first * part.ld, part.ld, last - first, part.columns,
                to + first * part.columns);
}

// Part of a packed factor of `k` terms.
struct PackedPart {
  const std::uint32_t* words;
  std::int64_t k;
  bool side_by_side;
  std::int64_t vector, vectors, term, terms;
};

// As [vectors, terms] of a left factor, [terms, vectors] of a right one; each thread some tiles.
void unpack_part(const Bf16Kernels& kernels, const PackedPart& part, float* to, Team team) {
  const std::int64_t panels = part.vectors / kBf16Vectors, tiles = part.terms / kBf16Terms;
  const auto [first, last] = team.share(panels * tiles);
  const std::int64_t ld = part.side_by_side ? part.vectors : part.terms;
  for (std::int64_t item = first; item < last; ++item) {
    const std::int64_t t = item / panels, p = item % panels;
    const std::int64_t tile =
        (part.vector / kBf16Vectors + p) * bf16_tiles(part.k) + part.term / kBf16Terms + t;
    const std::int64_t v = p * kBf16Vectors, k = t * kBf16Terms;
    kernels.unpack(part.words + tile * kBf16TileWords, part.side_by_side, ld,
                   to + (part.side_by_side ? k * ld + v : v * ld + k));
  }
}

const std::uint32_t* words(const std::byte* p) { return reinterpret_cast<const std::uint32_t*>(p); }

// Small products: all operands rounded, then one of our own kernels.
class RoundedSmallGemm final : public Kernel {
 public:
  RoundedSmallGemm(GemmProblem problem, const Bf16Kernels& kernels, std::unique_ptr<Kernel> f32)
      : Kernel(4 * operand_floats(problem) + f32->scratch_bytes),
        problem_(std::move(problem)),
        kernels_(kernels),
        f32_(std::move(f32)),
        operand_floats_(operand_floats(problem_)) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    as_team(problem_.threads,
            [&](Team team) { round_all(in, reinterpret_cast<float*>(scratch), team); });
    const std::byte* rounded[kMostInputs];
    const std::byte* at = scratch;
    for (const GemmFactors& f : problem_.products) {
      rounded[f.a_input] = at;
      at += 4 * a_floats(problem_, f);
      rounded[f.b_input] = at;
      at += 4 * b_floats(problem_, f);
    }
    if (problem_.add_z) rounded[problem_.z_input] = in[problem_.z_input];
    f32_->run(rounded, out, scratch + 4 * operand_floats_);
  }

  static bool fits(const GemmProblem& problem) { return problem.z_input < kMostInputs; }

 private:
  static constexpr std::size_t kMostInputs = 64;

  static std::int64_t a_floats(const GemmProblem& problem, const GemmFactors& f) {
    return lines(problem.batch * problem.m * f.k);
  }
  static std::int64_t b_floats(const GemmProblem& problem, const GemmFactors& f) {
    return lines(problem.batch * f.k * problem.n);
  }
  static std::int64_t operand_floats(const GemmProblem& problem) {
    std::int64_t sum = 0;
    for (const GemmFactors& f : problem.products)
      sum += a_floats(problem, f) + b_floats(problem, f);
    return sum;
  }

  void round_all(const std::byte* const* in, float* to, Team team) const {
    const std::int64_t m = problem_.m, n = problem_.n;
    for (const GemmFactors& f : problem_.products) {
      float* at = to;
      for (std::int64_t b = 0; b < problem_.batch; ++b, at += m * f.k) {
        if (f.packed_a) {
          unpack_part(kernels_, {words(in[f.a_input]) + b * f.a_batch, f.k, false, 0, m, 0, f.k},
                      at, team);
        } else {
          round_part(kernels_, {floats(in[f.a_input]) + b * f.a_batch, f.k, m, f.k}, at, team);
        }
      }
      to += a_floats(problem_, f);
      at = to;
      for (std::int64_t b = 0; b < problem_.batch; ++b, at += f.k * n) {
        if (f.packed_b) {
          unpack_part(kernels_, {words(in[f.b_input]) + b * f.b_batch, f.k, true, 0, n, 0, f.k}, at,
                      team);
        } else {
          round_part(kernels_, {floats(in[f.b_input]) + b * f.b_batch, n, f.k, n}, at, team);
        }
      }
      to += b_floats(problem_, f);
    }
  }

  const GemmProblem problem_;
  const Bf16Kernels& kernels_;
  const std::unique_ptr<Kernel> f32_;
  const std::int64_t operand_floats_;
};

// Large ones: by chunks of terms and of columns, so that scratch stays small.
class RoundedLibraryGemm final : public Kernel {
 public:
  RoundedLibraryGemm(GemmProblem problem, const Bf16Kernels& kernels)
      : Kernel(4 * (a_floats(problem) + b_floats(problem)) * teams(problem)),
        problem_(std::move(problem)),
        kernels_(kernels) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    auto* memory = reinterpret_cast<float*>(scratch);
    if (problem_.by_batch()) {
      const std::int64_t own = a_floats(problem_) + b_floats(problem_);
#pragma omp parallel for num_threads(problem_.threads) schedule(static)
      for (std::int64_t b = 0; b < problem_.batch; ++b)
        entry(in, out, b, memory + omp_get_thread_num() * own, 1);
    } else {
      for (std::int64_t b = 0; b < problem_.batch; ++b) entry(in, out, b, memory, problem_.threads);
    }
  }

 private:
  static constexpr std::int64_t kTerms = 1024;
  static constexpr std::int64_t kColumns = 2048;

  static int teams(const GemmProblem& problem) { return problem.by_batch() ? problem.threads : 1; }
  static std::int64_t longest(const GemmProblem& problem) {
    std::int64_t terms = 0;
    for (const GemmFactors& f : problem.products) terms = std::max(terms, f.k);
    return std::min(terms, kTerms);
  }
  static std::int64_t a_floats(const GemmProblem& problem) {
    return lines(problem.m * longest(problem));
  }
  static std::int64_t b_floats(const GemmProblem& problem) {
    return lines(std::min(problem.n, kColumns) * longest(problem));
  }

  void entry(const std::byte* const* in, std::byte* const* out, std::int64_t b, float* scratch,
             int threads) const {
    const std::int64_t n = problem_.n;
    float* c = reinterpret_cast<float*>(out[0]) + b * problem_.size();
    if (problem_.add_z) {
      const float* z = floats(in[problem_.z_input]) + b * problem_.size();
      if (z != c) std::memcpy(c, z, static_cast<std::size_t>(problem_.size()) * sizeof(float));
    }
    for (std::int64_t column = 0; column < n; column += kColumns) {
      const std::int64_t columns = std::min(kColumns, n - column);
      bool add = problem_.add_z;
      for (const GemmFactors& f : problem_.products) {
        for (std::int64_t term = 0; term < f.k; term += kTerms) {
          const Chunk chunk{b, term, std::min(kTerms, f.k - term), column, columns};
          as_team(threads, [&](Team team) { round_chunk(in, f, chunk, scratch, team); });
          const bool trans_a = f.trans_a && !f.packed_a, trans_b = f.trans_b && !f.packed_b;
          sgemm(trans_a, trans_b, problem_.m, columns, chunk.terms, scratch,
                trans_a ? problem_.m : chunk.terms, scratch + a_floats(problem_),
                trans_b ? chunk.terms : columns, add ? 1.0F : 0.0F, c + column, n, threads);
          add = true;
        }
      }
    }
  }

  struct Chunk {
    std::int64_t batch, term, terms, column, columns;
  };

  void round_chunk(const std::byte* const* in, const GemmFactors& f, const Chunk& chunk,
                   float* scratch, Team team) const {
    const std::int64_t m = problem_.m, n = problem_.n;
    const auto [batch, term, terms, column, columns] = chunk;
    if (f.packed_a) {
      unpack_part(kernels_,
                  {words(in[f.a_input]) + batch * f.a_batch, f.k, false, 0, m, term, terms},
                  scratch, team);
    } else {
      const float* a = floats(in[f.a_input]) + batch * f.a_batch;
      round_part(kernels_,
                 f.trans_a ? Part{a + term * m, m, terms, m} : Part{a + term, f.k, m, terms},
                 scratch, team);
    }
    float* to = scratch + a_floats(problem_);
    if (f.packed_b) {
      unpack_part(
          kernels_,
          {words(in[f.b_input]) + batch * f.b_batch, f.k, true, column, columns, term, terms}, to,
          team);
    } else {
      const float* right = floats(in[f.b_input]) + batch * f.b_batch;
      round_part(kernels_,
                 f.trans_b ? Part{right + column * f.k + term, f.k, columns, terms}
                           : Part{right + term * n + column, n, terms, columns},
                 to, team);
    }
  }

  const GemmProblem problem_;
  const Bf16Kernels& kernels_;
};

}  // namespace

std::unique_ptr<Kernel> make_rounded_gemm(GemmProblem problem, const Bf16Kernels& kernels,
                                          std::unique_ptr<Kernel> small) {
  if (small && RoundedSmallGemm::fits(problem))
    return std::make_unique<RoundedSmallGemm>(std::move(problem), kernels, std::move(small));
  return std::make_unique<RoundedLibraryGemm>(std::move(problem), kernels);
}

}  // namespace mixflow
