#include "kernels/bf16_kernels.h"

#if defined(__x86_64__)

#ifndef __clang__  // GCC 12 takes the intrinsics' undefined registers for mistakes.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <asm/prctl.h>
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

// For CPUs with these instructions, up to the end below.
#ifdef __clang__
#pragma clang attribute push(                                                          \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512bf16,amx-tile,amx-bf16")
#endif

namespace mixflow {
namespace {

constexpr std::int64_t kPairs = kBf16Terms / 2;

// --- packing -------------------------------------------------------------------------------------

// 32 bf16: those of `lower`, then those of `upper`.
__m512i converted(__m512 lower, __m512 upper) { return (__m512i)_mm512_cvtne2ps_pbh(upper, lower); }

// Words of (lower[i], upper[i]).
__m512i interleaved(__m512 lower, __m512 upper) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, converted(lower, upper));
}

// The transposed 16 × 16 words.
void turn(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {  // words of two rows
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {  // of four rows: within each quarter of the register
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {  // quarters of rows 0-3, 4-7, 8-11, 12-15 of a column
    const __m512i low_even = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    const __m512i low_odd = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xDD);
    const __m512i high_even = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    const __m512i high_odd = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xDD);
    t[i] = _mm512_shuffle_i32x4(low_even, high_even, 0x88);
    t[i + 8] = _mm512_shuffle_i32x4(low_even, high_even, 0xDD);
    t[i + 4] = _mm512_shuffle_i32x4(low_odd, high_odd, 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(low_odd, high_odd, 0xDD);
  }
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}

void pack_contiguous(const float* from, std::ptrdiff_t ld, bool side_by_side, std::uint32_t* to) {
  __m512i r[16];
  for (int v = 0; v < 16; ++v, from += ld)
    r[v] = converted(_mm512_loadu_ps(from), _mm512_loadu_ps(from + 16));
  if (side_by_side) turn(r);
  for (int i = 0; i < 16; ++i) _mm512_store_si512(to + 16 * i, r[i]);
}

void turn_tile(std::uint32_t* tile) {
  __m512i r[16];
  for (int i = 0; i < 16; ++i) r[i] = _mm512_load_si512(tile + 16 * i);
  turn(r);
  for (int i = 0; i < 16; ++i) _mm512_store_si512(tile + 16 * i, r[i]);
}

void pack(const float* from, std::ptrdiff_t ld, bool terms_contiguous, bool side_by_side,
          std::int64_t count, std::uint32_t* to, std::ptrdiff_t next) {
  if (terms_contiguous) {
    for (std::int64_t i = 0; i < count; ++i)
      pack_contiguous(from + i * kBf16Vectors * ld, ld, side_by_side, to + i * next);
    return;
  }
  // Along the rows: terms are often whole pages apart.
  for (std::int64_t p = 0; p < kPairs; ++p, from += 2 * ld) {
    for (std::int64_t i = 0; i < count; ++i) {
      const float* pair = from + i * kBf16Vectors;
      _mm512_store_si512(to + i * next + p * kBf16Vectors,
                         interleaved(_mm512_loadu_ps(pair), _mm512_loadu_ps(pair + ld)));
    }
  }
  if (side_by_side) return;
  for (std::int64_t i = 0; i < count; ++i) turn_tile(to + i * next);
}

void nothing() {}

// --- AVX512-BF16 ---------------------------------------------------------------------------------

constexpr int kRows = 8;

// 8 rows × kColumns vectors of C.
template <int kColumns>
void strip(const std::uint32_t* a, const std::uint32_t* b, std::ptrdiff_t b_next,
           std::int64_t tiles, __m512 (&sums)[kRows][2]) {
  for (auto& row : sums) row[0] = row[1] = _mm512_setzero_ps();
  for (std::int64_t t = 0; t < tiles; ++t, a += kBf16TileWords, b += kBf16TileWords) {
    for (std::int64_t p = 0; p < kPairs; ++p) {
      __m512bh column[kColumns];
      for (int j = 0; j < kColumns; ++j)
        column[j] = (__m512bh)_mm512_load_si512(b + j * b_next + p * kBf16Vectors);
#pragma GCC unroll 8
      for (int i = 0; i < kRows; ++i) {
        const auto x = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[i * kPairs + p]));
        for (int j = 0; j < kColumns; ++j) sums[i][j] = _mm512_dpbf16_ps(sums[i][j], x, column[j]);
      }
    }
  }
}

void avx512_block(const std::uint32_t* a, std::ptrdiff_t a_next, const std::uint32_t* b,
                  std::ptrdiff_t b_next, std::int64_t tiles, std::int64_t m, std::int64_t n,
                  float* c, std::ptrdiff_t ldc, bool add) {
  const std::int64_t columns[2] = {std::min(n, kBf16Vectors), n - std::min(n, kBf16Vectors)};
  __mmask16 mask[2];
  for (int j = 0; j < 2; ++j) mask[j] = static_cast<__mmask16>((1U << columns[j]) - 1);
  __m512 sums[kRows][2];
  for (std::int64_t i = 0; i < m; i += kRows) {
    const std::uint32_t* rows = a + i / kBf16Vectors * a_next + i % kBf16Vectors * kPairs;
    if (columns[1] > 0) {
      strip<2>(rows, b, b_next, tiles, sums);
    } else {
      strip<1>(rows, b, b_next, tiles, sums);
    }
    for (int r = 0; r < kRows && i + r < m; ++r) {
      float* to = c + (i + r) * ldc;
      for (int j = 0; j < 2; ++j, to += kBf16Vectors) {
        __m512 sum = sums[r][j];
        if (add) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask[j], to));
        _mm512_mask_storeu_ps(to, mask[j], sum);
      }
    }
  }
}

// --- AMX -----------------------------------------------------------------------------------------

struct alignas(64) TileConfig {
  std::uint8_t palette, start_row, reserved[14];
  std::uint16_t bytes_per_row[16];
  std::uint8_t rows[16];
};

// All eight tiles are whole: 0-3 sums, 4 and 5 rows of A, 6 and 7 columns of B.
constexpr TileConfig kTiles = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// Written out: GCC 12's intrinsics do not say that they read memory.
void amx_begin() { asm volatile("ldtilecfg %0" : : "m"(kTiles)); }
void amx_end() { asm volatile("tilerelease"); }

// The sums of a block in tiles 0 (upper left), 1 (upper right), 2 and 3 (below).
template <bool kTwoRows, bool kTwoColumns>
void multiply(const std::uint32_t* a, std::ptrdiff_t a_next, const std::uint32_t* b,
              std::ptrdiff_t b_next, std::int64_t tiles) {
  for (std::int64_t t = 0; t < tiles; ++t, a += kBf16TileWords, b += kBf16TileWords) {
    _tile_loadd(6, b, 64);
    _tile_loadd(4, a, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (kTwoColumns) {
      _tile_loadd(7, b + b_next, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (kTwoRows) {
      _tile_loadd(5, a + a_next, 64);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (kTwoColumns) _tile_dpbf16ps(3, 5, 7);
    }
  }
}

void amx_block(const std::uint32_t* a, std::ptrdiff_t a_next, const std::uint32_t* b,
               std::ptrdiff_t b_next, std::int64_t tiles, std::int64_t m, std::int64_t n, float* c,
               std::ptrdiff_t ldc, bool add) {
  const bool whole = m == kBf16Block && n == kBf16Block;
  asm volatile("" : : : "memory");  // packed words are written before tiles read them
  if (whole && add) {
    _tile_loadd(0, c, 4 * ldc);
    _tile_loadd(1, c + 16, 4 * ldc);
    _tile_loadd(2, c + 16 * ldc, 4 * ldc);
    _tile_loadd(3, c + 16 * ldc + 16, 4 * ldc);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  if (m > kBf16Vectors) {
    n > kBf16Vectors ? multiply<true, true>(a, a_next, b, b_next, tiles)
                     : multiply<true, false>(a, a_next, b, b_next, tiles);
  } else {
    n > kBf16Vectors ? multiply<false, true>(a, a_next, b, b_next, tiles)
                     : multiply<false, false>(a, a_next, b, b_next, tiles);
  }
  alignas(64) float sums[kBf16Block * kBf16Block];
  float* to = whole ? c : sums;
  const std::ptrdiff_t ld = whole ? ldc : kBf16Block;
  _tile_stored(0, to, 4 * ld);
  _tile_stored(1, to + 16, 4 * ld);
  _tile_stored(2, to + 16 * ld, 4 * ld);
  _tile_stored(3, to + 16 * ld + 16, 4 * ld);
  asm volatile("" : : : "memory");
  if (whole) return;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; j += kBf16Vectors) {
      const auto mask = static_cast<__mmask16>((1U << std::min(n - j, kBf16Vectors)) - 1);
      __m512 sum = _mm512_load_ps(sums + i * kBf16Block + j);
      if (add) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, c + i * ldc + j));
      _mm512_mask_storeu_ps(c + i * ldc + j, mask, sum);
    }
  }
}

// What follows runs on every CPU.
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

// Whether the CPU has AMX for bf16 and the kernel lets this process use it.
bool amx_granted() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kAmxBf16 = 1U << 22, kAmxTile = 1U << 24;
  if ((d & kAmxBf16) == 0 || (d & kAmxTile) == 0) return false;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_avx512_bf16() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
         __builtin_cpu_supports("avx512bf16") != 0;
}

}  // namespace

bool avx512_bf16_is_fast() {
  __builtin_cpu_init();
  return __builtin_cpu_is("amd") != 0;
}

const Bf16Kernels* avx512_bf16_kernels() {
  static constexpr Bf16Kernels kTable = {
      .name = "avx512_bf16", .pack = pack, .block = avx512_block, .begin = nothing, .end = nothing};
  static const bool kRuns = has_avx512_bf16();
  return kRuns ? &kTable : nullptr;
}

const Bf16Kernels* amx_bf16_kernels() {
  static constexpr Bf16Kernels kTable = {.name = "amx_bf16",
                                         .pack = pack,
                                         .block = amx_block,
                                         .packs_together = true,
                                         .begin = amx_begin,
                                         .end = amx_end};
  static const bool kRuns = has_avx512_bf16() && amx_granted();
  return kRuns ? &kTable : nullptr;
}

}  // namespace mixflow

#else

namespace mixflow {

bool avx512_bf16_is_fast() { return false; }
const Bf16Kernels* avx512_bf16_kernels() { return nullptr; }
const Bf16Kernels* amx_bf16_kernels() { return nullptr; }

}  // namespace mixflow

#endif
