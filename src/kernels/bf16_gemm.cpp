// Large products from operands rounded to bf16: B is cut into chunks that stay in the second-level
// cache, two panels of rows of A, multiplied with all columns of a chunk, stay in the first. Blocks
// follow each other along rows of C, which is often far larger than any cache.
// Factors that come packed are read where they lie. All sizes, and the scratch that packed chunks
// take, follow from the shape.
//
// Where products are so fast that packing is dear, threads pack a chunk together and then multiply
// it together. Elsewhere each makes a part of C on its own: to read what another core has packed
// takes as long as packing it, where cores do not share a cache, and then nobody waits.
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
  Bf16Gemm(GemmProblem problem, std::vector<GemmPart> parts, const Bf16Kernels& kernels)
      : Kernel(4 * Sizes(problem, parts).words * (one_team(problem, parts) ? 1 : problem.threads)),
        problem_(std::move(problem)),
        parts_(std::move(parts)),
        kernels_(kernels),
        sizes_(problem_, parts_) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    auto* words = reinterpret_cast<std::uint32_t*>(scratch);
    if (one_team(problem_, parts_)) {
      for (std::int64_t b = 0; b < problem_.batch; ++b)
        multiply_part(in, out, b, parts_[0], words, problem_.threads);
      return;
    }
    share_parts(problem_, parts_, [&](std::int64_t b, const GemmPart& part, int thread) {
      multiply_part(in, out, b, part, words + thread * sizes_.words, 1);
    });
  }

 private:
  // Terms of one product that are summed before C is touched again.
  struct Chunk {
    GemmFactors factors;
    std::int64_t first, terms;
    std::int64_t a_offset;  // of its A among all that is packed of A, in words
  };

  // What the largest part needs.
  struct Sizes {
    std::vector<Chunk> chunks;
    bool whole_a;                  // all that is packed of A stays packed
    std::int64_t b_offset, words;  // of scratch: B behind A, and all

    Sizes(const GemmProblem& problem, const std::vector<GemmPart>& parts) {
      std::int64_t rows = 0, columns = 0;
      for (const GemmPart& part : parts) {
        rows = std::max(rows, part.rows);
        columns = std::max(columns, part.columns);
      }
      std::int64_t a_words = 0, a_terms = 0, b_terms = 0;  // terms of the longest chunks
      for (const GemmFactors& factors : problem.products) {
        for (std::int64_t k = 0; k < factors.k; k += kTerms) {
          const std::int64_t terms = std::min(kTerms, factors.k - k);
          chunks.push_back({factors, k, terms, a_words});
          if (!factors.packed_a) {
            a_words += bf16_words(rows, terms);
            a_terms = std::max(a_terms, terms);
          }
          if (!factors.packed_b) b_terms = std::max(b_terms, terms);
        }
      }
      whole_a = columns > kColumns && a_words <= kWholeA;
      b_offset = whole_a ? a_words : bf16_words(std::min(rows, kRows), a_terms);
      words = b_offset + bf16_words(std::min(columns, kColumns), b_terms);
    }
  };

  // Whether all threads work on one part.
  static bool one_team(const GemmProblem& problem, const std::vector<GemmPart>& parts) {
    return parts.size() == 1 && !problem.by_batch();
  }

  // In steps that `threads` share.
  void multiply_part(const std::byte* const* in, std::byte* const* out, std::int64_t b,
                     const GemmPart& part, std::uint32_t* scratch, int threads) const {
    const auto together = [&](const auto& work) {
      run_parts(threads, [&](int index) { work(Share{index, threads}); });
    };
    float* c = reinterpret_cast<float*>(out[0]) + b * problem_.size();
    if (problem_.add_z) together([&](Share share) { start_from_z(in, c, b, part, share); });
    if (sizes_.whole_a) {
      together([&](Share share) {
        for (const Chunk& chunk : sizes_.chunks) {
          if (!chunk.factors.packed_a) rows_of_a(in, b, chunk, part.row, part.rows, scratch, share);
        }
      });
    }
    const std::int64_t right_end = part.column + part.columns;
    for (std::int64_t column = part.column; column < right_end; column += kColumns) {
      const std::int64_t columns = std::min(kColumns, right_end - column);
      bool add = problem_.add_z;
      for (const Chunk& chunk : sizes_.chunks) {
        const bool packs_a = !sizes_.whole_a && !chunk.factors.packed_a;
        const std::int64_t step = packs_a ? kRows : part.rows;
        for (std::int64_t i = 0; i < part.rows; i += step) {
          const std::int64_t row = part.row + i, rows = std::min(step, part.rows - i);
          const bool packs_b = i == 0 && !chunk.factors.packed_b;
          if (packs_a || packs_b) {
            together([&](Share share) {
              if (packs_b) columns_of_b(in, b, chunk, column, columns, scratch, share);
              if (packs_a) rows_of_a(in, b, chunk, row, rows, scratch, share);
            });
          }
          const Bf16Panels left = a_panels(in, b, chunk, row, scratch);
          const Bf16Panels right = b_panels(in, b, chunk, column, scratch);
          together([&](Share share) {
            multiply(left, right, bf16_tiles(chunk.terms), rows, columns,
                     c + row * problem_.n + column, add, share);
          });
        }
        add = true;
      }
    }
  }

  // A chunk of a factor of `k` terms that came packed, from `vector` on.
  static Bf16Panels packed(const std::byte* input, std::int64_t offset, std::int64_t k,
                           const Chunk& chunk, std::int64_t vector) {
    const auto* words = reinterpret_cast<const std::uint32_t*>(input) + offset;
    return {bf16_tile(words, k, vector, chunk.first), bf16_tiles(k) * kBf16TileWords};
  }

  // Where a chunk's rows of A lie, packed here or before: all of A's, or those from `row` on.
  Bf16Panels a_panels(const std::byte* const* in, std::int64_t b, const Chunk& chunk,
                      std::int64_t row, const std::uint32_t* scratch) const {
    const GemmFactors& f = chunk.factors;
    if (f.packed_a) return packed(in[f.a_input], b * f.a_batch, f.k, chunk, row);
    return {scratch + (sizes_.whole_a ? chunk.a_offset : 0),
            bf16_tiles(chunk.terms) * kBf16TileWords};
  }

  // Where a chunk's columns of B lie: packed before, or here, behind A.
  Bf16Panels b_panels(const std::byte* const* in, std::int64_t b, const Chunk& chunk,
                      std::int64_t column, const std::uint32_t* scratch) const {
    const GemmFactors& f = chunk.factors;
    if (f.packed_b) return packed(in[f.b_input], b * f.b_batch, f.k, chunk, column);
    return {scratch + sizes_.b_offset, bf16_tiles(chunk.terms) * kBf16TileWords};
  }

  // Packs a share of a chunk's rows of A,
  void rows_of_a(const std::byte* const* in, std::int64_t b, const Chunk& chunk, std::int64_t row,
                 std::int64_t rows, std::uint32_t* scratch, Share share) const {
    const GemmFactors& f = chunk.factors;
    const Bf16Matrix left{reinterpret_cast<const float*>(in[f.a_input]) + b * f.a_batch,
                          f.trans_a ? problem_.m : f.k, !f.trans_a};
    pack_bf16(kernels_, left, row, rows, chunk.first, chunk.terms, false,
              scratch + (sizes_.whole_a ? chunk.a_offset : 0), share);
  }

  // and of its columns of B.
  void columns_of_b(const std::byte* const* in, std::int64_t b, const Chunk& chunk,
                    std::int64_t column, std::int64_t columns, std::uint32_t* scratch,
                    Share share) const {
    const GemmFactors& f = chunk.factors;
    const Bf16Matrix right{reinterpret_cast<const float*>(in[f.b_input]) + b * f.b_batch,
                           f.trans_b ? f.k : problem_.n, f.trans_b};
    pack_bf16(kernels_, right, column, columns, chunk.first, chunk.terms, true,
              scratch + sizes_.b_offset, share);
  }

  void start_from_z(const std::byte* const* in, float* c, std::int64_t b, const GemmPart& part,
                    Share share) const {
    const float* z = reinterpret_cast<const float*>(in[problem_.z_input]) + b * problem_.size();
    if (z == c) return;
    const auto [first, last] = share.of(part.rows);
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t at = (part.row + i) * problem_.n + part.column;
      std::memcpy(c + at, z + at, static_cast<std::size_t>(part.columns) * sizeof(float));
    }
  }

  void multiply(Bf16Panels a, Bf16Panels b, std::int64_t tiles, std::int64_t rows,
                std::int64_t columns, float* c, bool add, Share share) const {
    const std::int64_t down = (rows + kBf16Block - 1) / kBf16Block;
    const std::int64_t across = (columns + kBf16Block - 1) / kBf16Block;
    // Best by rows: those of A that the same thread has packed, and those of C that it goes on
    // with.
    const bool by_rows = share.longest(down) * across <= share.longest(across) * down;
    const auto [top, bottom] = by_rows ? share.of(down) : std::pair(std::int64_t{0}, down);
    const auto [left, right] = by_rows ? std::pair(std::int64_t{0}, across) : share.of(across);
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
  const std::vector<GemmPart> parts_;
  const Bf16Kernels& kernels_;
  const Sizes sizes_;
};

}  // namespace

std::unique_ptr<Kernel> make_bf16_gemm(GemmProblem problem, const Bf16Kernels& kernels) {
  std::vector<GemmPart> parts = kernels.packs_together
                                    ? std::vector<GemmPart>{{0, problem.m, 0, problem.n}}
                                    : parts_of(problem, kBf16Block);
  return std::make_unique<Bf16Gemm>(std::move(problem), std::move(parts), kernels);
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
