// Large products from operands rounded to bf16: B is cut into chunks that stay in the second-level
// cache, a chunk's two panels of columns that are multiplied with all rows of A stay in the first.
// All sizes, and the scratch that packed chunks take, follow from the shape.
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/gemm_problem.h"

namespace mixflow {
namespace {

// Of one chunk. A block's panels of A or B are 2 · 16 vectors · kTerms bf16 = 32 KiB.
constexpr std::int64_t kTerms = 512;
constexpr std::int64_t kRows = 512;
constexpr std::int64_t kColumns = 1024;
// Vectors that are packed together where terms are far apart.
constexpr std::int64_t kGroup = 8 * kBf16Vectors;
// A is packed once, and not again for every chunk of columns, up to this many words.
constexpr std::int64_t kWholeA = std::int64_t{1} << 18;

constexpr std::int64_t up(std::int64_t x, std::int64_t multiple) {
  return (x + multiple - 1) / multiple * multiple;
}

std::int64_t words(std::int64_t vectors, std::int64_t terms) {
  return up(vectors, kBf16Block) * up(terms, kBf16Terms) / 2;
}

// The thread's place among those that work on one entry.
struct Team {
  int thread, threads;

  void wait() const {
    if (threads > 1) {
#pragma omp barrier
    }
  }
  std::int64_t longest_share(std::int64_t n) const { return (n + threads - 1) / threads; }
  // This thread's part of n items.
  std::pair<std::int64_t, std::int64_t> share(std::int64_t n) const {
    return {n * thread / threads, n * (thread + 1) / threads};
  }
};

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
    } else if (problem_.threads > 1) {
#pragma omp parallel num_threads(problem_.threads)
      {
        const Team team{omp_get_thread_num(), omp_get_num_threads()};
        for (std::int64_t b = 0; b < problem_.batch; ++b) entry(in, out, b, words, team);
      }
    } else {
      for (std::int64_t b = 0; b < problem_.batch; ++b) entry(in, out, b, words, {0, 1});
    }
  }

 private:
  // Terms of one product that are summed before C is touched again.
  struct Chunk {
    GemmFactors factors;
    std::int64_t first, terms;
    std::int64_t a_offset;  // of its A among all of A, in words
  };
  // A factor as vectors (rows of A, columns of B) of terms.
  struct Matrix {
    const float* data;
    std::ptrdiff_t ld;
    bool terms_contiguous;

    const float* at(std::int64_t vector, std::int64_t term) const {
      return terms_contiguous ? data + vector * ld + term : data + term * ld + vector;
    }
  };

  static std::vector<Chunk> cut(const GemmProblem& problem) {
    std::vector<Chunk> chunks;
    std::int64_t a_offset = 0;
    for (const GemmFactors& factors : problem.products) {
      for (std::int64_t k = 0; k < factors.k; k += kTerms) {
        const std::int64_t terms = std::min(kTerms, factors.k - k);
        chunks.push_back({factors, k, terms, a_offset});
        a_offset += words(problem.m, terms);
      }
    }
    return chunks;
  }

  static std::int64_t all_a_words(const GemmProblem& problem) {
    const Chunk last = cut(problem).back();
    return last.a_offset + words(problem.m, last.terms);
  }
  static bool keeps_a(const GemmProblem& problem) {
    return problem.n > kColumns && all_a_words(problem) <= kWholeA;
  }
  static std::int64_t longest(const GemmProblem& problem) {
    std::int64_t terms = 0;
    for (const GemmFactors& factors : problem.products) terms = std::max(terms, factors.k);
    return std::min(terms, kTerms);
  }
  static std::int64_t a_words(const GemmProblem& problem) {
    return keeps_a(problem) ? all_a_words(problem)
                            : words(std::min(problem.m, kRows), longest(problem));
  }
  static std::int64_t scratch_words(const GemmProblem& problem) {
    return a_words(problem) + words(std::min(problem.n, kColumns), longest(problem));
  }

  void entry(const std::byte* const* in, std::byte* const* out, std::int64_t b,
             std::uint32_t* scratch, Team team) const {
    float* c = reinterpret_cast<float*>(out[0]) + b * problem_.size();
    if (problem_.add_z) start_from_z(in, c, b, team);
    const auto a_of = [&](const Chunk& chunk) {
      const GemmFactors& f = chunk.factors;
      return Matrix{reinterpret_cast<const float*>(in[f.a_input]) + b * f.a_batch,
                    f.trans_a ? problem_.m : f.k, !f.trans_a};
    };
    std::uint32_t* const packed_b = scratch + b_offset_;
    if (whole_a_) {
      for (const Chunk& chunk : chunks_)
        pack(a_of(chunk), 0, problem_.m, chunk, false, scratch + chunk.a_offset, team);
    }
    for (std::int64_t column = 0; column < problem_.n; column += kColumns) {
      const std::int64_t columns = std::min(kColumns, problem_.n - column);
      bool add = problem_.add_z;
      for (const Chunk& chunk : chunks_) {
        const GemmFactors& f = chunk.factors;
        const Matrix right{reinterpret_cast<const float*>(in[f.b_input]) + b * f.b_batch,
                           f.trans_b ? f.k : problem_.n, f.trans_b};
        pack(right, column, columns, chunk, true, packed_b, team);
        // With all of A packed there is one chunk of rows: its panels follow each other.
        const std::int64_t step = whole_a_ ? problem_.m : kRows;
        for (std::int64_t row = 0; row < problem_.m; row += step) {
          const std::int64_t rows = std::min(step, problem_.m - row);
          if (!whole_a_) pack(a_of(chunk), row, rows, chunk, false, scratch, team);
          team.wait();
          multiply(scratch + (whole_a_ ? chunk.a_offset : 0), packed_b, chunk.terms, rows, columns,
                   c + row * problem_.n + column, add, team);
          team.wait();  // before what was packed is overwritten
        }
        add = true;
      }
    }
  }

  void start_from_z(const std::byte* const* in, float* c, std::int64_t b, Team team) const {
    const float* z = reinterpret_cast<const float*>(in[problem_.z_input]) + b * problem_.size();
    if (z == c) return;
    const auto [first, last] = team.share(problem_.size());
    std::memcpy(c + first, z + first, static_cast<std::size_t>(last - first) * sizeof(float));
    team.wait();
  }

  // Panels of 16 vectors, each of tiles of terms; there is room for an even number of them.
  void pack(const Matrix& matrix, std::int64_t vector, std::int64_t vectors, const Chunk& chunk,
            bool side_by_side, std::uint32_t* to, Team team) const {
    const std::int64_t tiles = up(chunk.terms, kBf16Terms) / kBf16Terms;
    const std::int64_t size = matrix.terms_contiguous ? kBf16Vectors : kGroup;
    const std::int64_t groups = (vectors + size - 1) / size;
    const auto [first, last] = team.share(groups * tiles);
    for (std::int64_t item = first; item < last; ++item) {
      // In the order of memory.
      const std::int64_t group = matrix.terms_contiguous ? item / tiles : item % groups;
      const std::int64_t tile = matrix.terms_contiguous ? item % tiles : item / groups;
      const std::int64_t v = group * size, t = tile * kBf16Terms;
      pack_group(matrix, vector + v, std::min(size, vectors - v), chunk.first + t,
                 std::min(kBf16Terms, chunk.terms - t), side_by_side,
                 to + (v / kBf16Vectors * tiles + tile) * kBf16TileWords, tiles * kBf16TileWords);
    }
  }

  // Some panels' tiles of the same terms.
  void pack_group(const Matrix& matrix, std::int64_t vector, std::int64_t vectors,
                  std::int64_t term, std::int64_t terms, bool side_by_side, std::uint32_t* to,
                  std::ptrdiff_t next) const {
    const std::int64_t whole = terms == kBf16Terms ? vectors / kBf16Vectors : 0;
    if (whole > 0) {
      kernels_.pack(matrix.at(vector, term), matrix.ld, matrix.terms_contiguous, side_by_side,
                    whole, to, next);
    }
    for (std::int64_t v = whole * kBf16Vectors; v < vectors; v += kBf16Vectors) {
      pack_padded(matrix, vector + v, std::min(kBf16Vectors, vectors - v), term, terms,
                  side_by_side, to + v / kBf16Vectors * next);
    }
  }

  void pack_padded(const Matrix& matrix, std::int64_t vector, std::int64_t vectors,
                   std::int64_t term, std::int64_t terms, bool side_by_side,
                   std::uint32_t* to) const {
    const float* from = matrix.at(vector, term);
    alignas(64) float padded[kBf16Vectors * kBf16Terms] = {};
    const std::int64_t rows = matrix.terms_contiguous ? vectors : terms;
    const std::int64_t length = matrix.terms_contiguous ? terms : vectors;
    const std::int64_t ld = matrix.terms_contiguous ? kBf16Terms : kBf16Vectors;
    for (std::int64_t i = 0; i < rows; ++i)
      std::memcpy(padded + i * ld, from + i * matrix.ld,
                  static_cast<std::size_t>(length) * sizeof(float));
    kernels_.pack(padded, ld, matrix.terms_contiguous, side_by_side, 1, to, 0);
  }

  void multiply(const std::uint32_t* a, const std::uint32_t* b, std::int64_t terms,
                std::int64_t rows, std::int64_t columns, float* c, bool add, Team team) const {
    const std::int64_t tiles = up(terms, kBf16Terms) / kBf16Terms;
    const std::int64_t panel = tiles * kBf16TileWords;
    const std::int64_t down = up(rows, kBf16Block) / kBf16Block;
    const std::int64_t across = up(columns, kBf16Block) / kBf16Block;
    // Best by rows: those of A that a thread has packed, and those of C that it goes on with.
    const bool by_rows = team.longest_share(down) * across <= team.longest_share(across) * down;
    const auto [top, bottom] = by_rows ? team.share(down) : std::pair(std::int64_t{0}, down);
    const auto [left, right] = by_rows ? std::pair(std::int64_t{0}, across) : team.share(across);
    kernels_.begin();
    for (std::int64_t j = left * kBf16Block; j < right * kBf16Block; j += kBf16Block) {
      for (std::int64_t i = top * kBf16Block; i < bottom * kBf16Block; i += kBf16Block) {
        kernels_.block(a + i / kBf16Vectors * panel, panel, b + j / kBf16Vectors * panel, panel,
                       tiles, std::min(kBf16Block, rows - i), std::min(kBf16Block, columns - j),
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

std::unique_ptr<Kernel> make_bf16_gemm(GemmProblem problem, const Bf16Kernels* kernels) {
  return std::make_unique<Bf16Gemm>(std::move(problem),
                                    kernels != nullptr ? *kernels : bf16_kernels());
}

const Bf16Kernels& bf16_kernels() {
  static const Bf16Kernels& kBest = []() -> const Bf16Kernels& {
    for (const Bf16Kernels* kernels : {amx_bf16_kernels(), avx512_bf16_kernels()}) {
      if (kernels != nullptr) return *kernels;
    }
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
