// Products of matrices rounded to bf16, summed in f32: packing and one block of the result. One
// table of functions per kind of CPU; `bf16_kernels()` is the best that this one runs. Where a CPU
// has no instructions that make such products faster than those of f32, operands are rounded and
// multiplied by the f32 kernels.
//
// Rounding is to the nearest, ties to even; NaN stays NaN. Operands are packed into tiles of
// 16 vectors (rows of A or columns of B) by 32 terms, 1 KiB each, of pairs of terms: a word holds
// term 2p in its lower half and 2p + 1 in its upper. What a matrix lacks to whole tiles is zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mixflow {

constexpr std::int64_t kBf16Vectors = 16;
constexpr std::int64_t kBf16Terms = 32;
constexpr std::int64_t kBf16TileWords = kBf16Vectors * kBf16Terms / 2;
// A block of the result is up to 2 × 2 tiles.
constexpr std::int64_t kBf16Block = 2 * kBf16Vectors;

struct Bf16Kernels {
  const char* name;

  // Packs `count` whole tiles, of the same terms and of vectors that follow each other, into `to`
  // (64-byte aligned) and every `next` words after it. Vector v's term k is from[v * ld + k] if
  // `terms_contiguous`, else from[k * ld + v]. Rows of A lie one after the other (to[v * 16 + p]),
  // columns of B side by side (to[p * 16 + v]): `side_by_side`.
  void (*pack)(const float* from, std::ptrdiff_t ld, bool terms_contiguous, bool side_by_side,
               std::int64_t count, std::uint32_t* to, std::ptrdiff_t next);

  // Null in the table for CPUs without such instructions:
  // c[m,n] (+)= A·B for m, n <= 32, over `tiles` tiles of terms. A's second 16 rows and B's second
  // 16 columns begin `a_next` and `b_next` words later.
  void (*block)(const std::uint32_t* a, std::ptrdiff_t a_next, const std::uint32_t* b,
                std::ptrdiff_t b_next, std::int64_t tiles, std::int64_t m, std::int64_t n, float* c,
                std::ptrdiff_t ldc, bool add) = nullptr;

  // Whether `block` is so fast that threads share what they pack (bf16_gemm.cpp).
  bool packs_together = false;

  // Around a thread's calls of `block`: they may hold state of the CPU.
  void (*begin)() = nullptr;
  void (*end)() = nullptr;

  // The rest is null in tables with `block`. Rows of `to` are `ld_to` apart.
  // The rounded values of a matrix whose rows are `ld` apart. `to` may be `from`.
  void (*round)(const float* from, std::ptrdiff_t ld, std::int64_t rows, std::int64_t columns,
                float* to, std::ptrdiff_t ld_to) = nullptr;
  // The 16 rows of a packed tile of a left factor, 32 terms each.
  void (*unpack_rows)(const std::uint32_t* tile, float* to, std::ptrdiff_t ld_to) = nullptr;
  // The 32 terms of so many columns of a packed tile of a right factor, from the column on whose
  // first word `tile` points to.
  void (*unpack_columns)(const std::uint32_t* tile, std::int64_t columns, float* to,
                         std::ptrdiff_t ld_to) = nullptr;
};

const Bf16Kernels& bf16_kernels();

// Those that this CPU runs, the best first; for tests. Not to be called while kernels run.
std::vector<const Bf16Kernels*> all_bf16_kernels();

// Highway's, for every CPU, and those of each of its instruction sets that this one runs
// (bf16_portable.cpp).
const Bf16Kernels& portable_bf16_kernels();
std::vector<const Bf16Kernels*> all_portable_bf16_kernels();
// Of CPUs with AVX512-BF16, and with AMX (bf16_x86.cpp); null where they do not run. The first
// have twice the speed of f32 on AMD's CPUs; on Intel's they have less (0.6 measured), so there AMX
// is used, or f32.
const Bf16Kernels* avx512_bf16_kernels();
bool avx512_bf16_is_fast();
const Bf16Kernels* amx_bf16_kernels();

}  // namespace mixflow
