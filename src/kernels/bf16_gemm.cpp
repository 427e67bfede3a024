// Large products from operands rounded to bf16: B is cut into chunks that stay in the second-level
// cache, two panels of rows of A, multiplied with all columns of a chunk, stay in the first. Blocks
// follow each other along rows of C, which is often far larger than any cache.
// Factors that come packed are read where they lie. All sizes, and the scratch that packed chunks
// take, follow from the shape.
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/bf16_pack.h"
#include "kernels/gemm_problem.h"

namespace mixflow {
namespace {

// Of one chunk. A block's panels of A or B are 2 · 16 vectors · kTerms bf16 = 32 KiB.
constexpr std::int64_t kTerms = 512;
constexpr std::int64_t kRows = 512;
constexpr std::int64_t kColumns = 1024;
// A is packed once, and not again for every chunk of columns, up to this many words.
constexpr std::int64_t kWholeA = std::int64_t{1} << 18;

class Bf16Gemm final : public Kernel {
 public:
  Bf16Gemm(GemmProblem problem, const Bf16Kernels& kernels)
      : Kernel(4 * scratch_words(problem) * (problem.by_batch() ? problem.threads : 1)),
        problem_(std::move(problem)),
        kernels_(kernels),
        chunks_(cut(problem_)),
        whole_a_(keeps_a(problem_)),
        b_offset_(a_words(problem_)),
        entry_words_(scratch_words(problem_)) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    auto* words = reinterpret_cast<std::uint32_t*>(scratch);
    if (problem_.by_batch()) {
#pragma omp parallel for num_threads(problem_.threads) schedule(static)
      for (std::int64_t b = 0; b < problem_.batch; ++b)
        entry(in, out, b, words + omp_get_thread_num() * entry_words_, {0, 1});
    } else {
      as_team(problem_.threads, [&](Team team) {
        for (std::int64_t b = 0; b < problem_.batch; ++b) entry(in, out, b, words, team);
      });
    }
  }

 private:
  // Terms of one product that are summed before C is touched again.
  struct Chunk {
    GemmFactors factors;
    std::int64_t first, terms;
    std::int64_t a_offset;  // of its A among all that is packed of A, in words
  };

  static std::vector<Chunk> cut(const GemmProblem& problem) {
    std::vector<Chunk> chunks;
    std::int64_t a_offset = 0;
    for (const GemmFactors& factors : problem.products) {
      for (std::int64_t k = 0; k < factors.k; k += kTerms) {
        const std::int64_t terms = std::min(kTerms, factors.k - k);
        chunks.push_back({factors, k, terms, a_offset});
        if (!factors.packed_a) a_offset += bf16_words(problem.m, terms);
      }
    }
    return chunks;
  }

  static std::int64_t all_a_words(const GemmProblem& problem) {
    const Chunk last = cut(problem).back();
    return last.a_offset + (last.factors.packed_a ? 0 : bf16_words(problem.m, last.terms));
  }
  static bool keeps_a(const GemmProblem& problem) {
    return problem.n > kColumns && all_a_words(problem) <= kWholeA;
  }
  // Terms of the longest chunk whose A (whose B) is packed here.
  static std::int64_t longest(const GemmProblem& problem, bool of_b) {
    std::int64_t terms = 0;
    for (const GemmFactors& factors : problem.products) {
      if (!(of_b ? factors.packed_b : factors.packed_a)) terms = std::max(terms, factors.k);
    }
    return std::min(terms, kTerms);
  }
  static std::int64_t a_words(const GemmProblem& problem) {
    return keeps_a(problem) ? all_a_words(problem)
                            : bf16_words(std::min(problem.m, kRows), longest(problem, false));
  }
  static std::int64_t scratch_words(const GemmProblem& problem) {
    return a_words(problem) + bf16_words(std::min(problem.n, kColumns), longest(problem, true));
  }

  void entry(const std::byte* const* in, std::byte* const* out, std::int64_t b,
             std::uint32_t* scratch, Team team) const {
    float* c = reinterpret_cast<float*>(out[0]) + b * problem_.size();
    if (problem_.add_z) start_from_z(in, c, b, team);
    if (whole_a_) {
      if (b > 0) team.wait();  // before what others still read is overwritten
      for (const Chunk& chunk : chunks_)
        if (!chunk.factors.packed_a) rows_of_a(in, b, chunk, 0, problem_.m, scratch, team);
      team.wait();
    }
    for (std::int64_t column = 0; column < problem_.n; column += kColumns) {
      const std::int64_t columns = std::min(kColumns, problem_.n - column);
      bool add = problem_.add_z;
      for (const Chunk& chunk : chunks_) {
        const Bf16Panels right = columns_of_b(in, b, chunk, column, columns, scratch, team);
        const bool a_is_there = whole_a_ || chunk.factors.packed_a;
        const bool packs = !a_is_there || !chunk.factors.packed_b;
        const std::int64_t step = a_is_there ? problem_.m : kRows;
        for (std::int64_t row = 0; row < problem_.m; row += step) {
          const std::int64_t rows = std::min(step, problem_.m - row);
          const Bf16Panels left =
              whole_a_ && !chunk.factors.packed_a
                  ? Bf16Panels{scratch + chunk.a_offset, bf16_tiles(chunk.terms) * kBf16TileWords}
                  : rows_of_a(in, b, chunk, row, rows, scratch, team);
          if (packs) team.wait();
          multiply(left, right, bf16_tiles(chunk.terms), rows, columns,
                   c + row * problem_.n + column, add, team);
          if (packs) team.wait();  // before what was packed is overwritten
        }
        add = true;
      }
    }
  }

  // A chunk of a factor of `k` terms that came packed, from `vector` on.
  static Bf16Panels packed(const std::byte* input, std::int64_t offset, std::int64_t k,
                           const Chunk& chunk, std::int64_t vector) {
    const Bf16Panels all{reinterpret_cast<const std::uint32_t*>(input) + offset,
                         bf16_tiles(k) * kBf16TileWords};
    const Bf16Panels from = all.from_vector(vector);
    return {from.data + bf16_tiles(chunk.first) * kBf16TileWords, from.stride};
  }

  // A chunk's rows of A: where they lie, or packed into scratch.
  Bf16Panels rows_of_a(const std::byte* const* in, std::int64_t b, const Chunk& chunk,
                       std::int64_t row, std::int64_t rows, std::uint32_t* scratch,
                       Team team) const {
    const GemmFactors& f = chunk.factors;
    if (f.packed_a) return packed(in[f.a_input], b * f.a_batch, f.k, chunk, row);
    const Bf16Matrix left{reinterpret_cast<const float*>(in[f.a_input]) + b * f.a_batch,
                          f.trans_a ? problem_.m : f.k, !f.trans_a};
    return pack_bf16(kernels_, left, row, rows, chunk.first, chunk.terms, false,
                     scratch + (whole_a_ ? chunk.a_offset : 0), team);
  }

  // A chunk's columns of B: where they lie, or packed behind A.
  Bf16Panels columns_of_b(const std::byte* const* in, std::int64_t b, const Chunk& chunk,
                          std::int64_t column, std::int64_t columns, std::uint32_t* scratch,
                          Team team) const {
    const GemmFactors& f = chunk.factors;
    if (f.packed_b) return packed(in[f.b_input], b * f.b_batch, f.k, chunk, column);
    const Bf16Matrix right{reinterpret_cast<const float*>(in[f.b_input]) + b * f.b_batch,
                           f.trans_b ? f.k : problem_.n, f.trans_b};
    return pack_bf16(kernels_, right, column, columns, chunk.first, chunk.terms, true,
                     scratch + b_offset_, team);
  }

  void start_from_z(const std::byte* const* in, float* c, std::int64_t b, Team team) const {
    const float* z = reinterpret_cast<const float*>(in[problem_.z_input]) + b * problem_.size();
    if (z == c) return;
    const auto [first, last] = team.share(problem_.size());
    std::memcpy(c + first, z + first, static_cast<std::size_t>(last - first) * sizeof(float));
    team.wait();
  }

  void multiply(Bf16Panels a, Bf16Panels b, std::int64_t tiles, std::int64_t rows,
                std::int64_t columns, float* c, bool add, Team team) const {
    const std::int64_t down = (rows + kBf16Block - 1) / kBf16Block;
    const std::int64_t across = (columns + kBf16Block - 1) / kBf16Block;
    // Best by rows: those of A that a thread has packed, and those of C that it goes on with.
    const bool by_rows = team.longest_share(down) * across <= team.longest_share(across) * down;
    const auto [top, bottom] = by_rows ? team.share(down) : std::pair(std::int64_t{0}, down);
    const auto [left, right] = by_rows ? std::pair(std::int64_t{0}, across) : team.share(across);
    kernels_.begin();
    for (std::int64_t i = top * kBf16Block; i < bottom * kBf16Block; i += kBf16Block) {
      for (std::int64_t j = left * kBf16Block; j < right * kBf16Block; j += kBf16Block) {
        kernels_.block(a.from_vector(i).data, a.stride, b.from_vector(j).data, b.stride, tiles,
                       std::min(kBf16Block, rows - i), std::min(kBf16Block, columns - j),
                       c + i * problem_.n + j, problem_.n, add);
      }
    }
    kernels_.end();
  }

  const GemmProblem problem_;
  const Bf16Kernels& kernels_;
  const std::vector<Chunk> chunks_;
  const bool whole_a_;
  const std::int64_t b_offset_, entry_words_;
};

}  // namespace

std::unique_ptr<Kernel> make_bf16_gemm(GemmProblem problem, const Bf16Kernels& kernels) {
  return std::make_unique<Bf16Gemm>(std::move(problem), kernels);
}

const Bf16Kernels& bf16_kernels() {
  static const Bf16Kernels& kBest = []() -> const Bf16Kernels& {
    if (const Bf16Kernels* amx = amx_bf16_kernels()) return *amx;
    const Bf16Kernels* avx512 = avx512_bf16_kernels();
    if (avx512 != nullptr && avx512_bf16_is_fast()) return *avx512;
    return portable_bf16_kernels();
  }();
  return kBest;
}

std::vector<const Bf16Kernels*> all_bf16_kernels() {
  std::vector<const Bf16Kernels*> all = all_portable_bf16_kernels();
  for (const Bf16Kernels* kernels : {avx512_bf16_kernels(), amx_bf16_kernels()}) {
    if (kernels != nullptr) all.insert(all.begin(), kernels);
  }
  return all;
}

}  // namespace mixflow
