#include "kernels/small_gemm.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <utility>

// Scalable vectors cannot be held in arrays; the fixed-size targets serve those CPUs too.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/small_gemm.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mixflow {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr hn::CappedTag<float, 16> kTag;
using D = decltype(kTag);
using Vec = hn::Vec<D>;
constexpr int kLanes = static_cast<int>(hn::MaxLanes(kTag));

// A tile is kRows × kVecs vectors of C, held in registers: as many as leave room for a row of B and
// one element of A. 32 registers: AVX-512 and 64-bit Arm.
#if HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64
constexpr int kMaxVecs = 4;
constexpr std::array<int, kMaxVecs + 1> kMaxRows = {0, 8, 8, 8, 6};
#else
constexpr int kMaxVecs = 3;
constexpr std::array<int, kMaxVecs + 1> kMaxRows = {0, 8, 6, 4};
#endif
constexpr int kLargestRows = 8;

// Masked accesses that cannot touch memory outside the mask: AVX2 and AVX-512 have them for 32-bit
// lanes.
#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
constexpr bool kSafeMasks = true;
#else
constexpr bool kSafeMasks = false;
#endif

// The first `lanes` floats at p, zeros after them.
template <class DV>
HWY_INLINE hn::Vec<DV> load_first(DV d, const float* p, std::int64_t lanes) {
  if constexpr (kSafeMasks) {
    return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(lanes)), d, p);
  } else {
    HWY_ALIGN float buffer[kLanes] = {};
    std::memcpy(buffer, p, static_cast<std::size_t>(lanes) * sizeof(float));
    return hn::Load(d, buffer);
  }
}

template <class DV>
HWY_INLINE void store_first(DV d, hn::Vec<DV> v, float* p, std::int64_t lanes) {
  if constexpr (kSafeMasks) {
    hn::BlendedStore(v, hn::FirstN(d, static_cast<std::size_t>(lanes)), d, p);
  } else {
    HWY_ALIGN float buffer[kLanes];
    hn::Store(v, d, buffer);
    std::memcpy(p, buffer, static_cast<std::size_t>(lanes) * sizeof(float));
  }
}

// --- C = sum of A·B, B by rows -------------------------------------------------------------------

// What the last vector of a tile's columns holds: all its lanes, some of them, or no more than half
// of them; a vector of half the size serves then (40 columns are 2.5 vectors of 16, and half a
// vector is half the work where AVX-512 runs as two halves).
enum Tail { kFullTail, kPartTail, kHalfTail, kTails };
constexpr hn::CappedTag<float, (kLanes >= 16 ? 8 : kLanes)> kHalfTag;

// The first lanes of x, as many as DV has: a name for the same register. One broadcast from memory
// then serves whole vectors and the tail; a second one would be a shuffle, which competes with the
// multiplications.
template <class DV>
HWY_INLINE hn::Vec<DV> first_lanes(DV d, Vec x) {
  if constexpr (hn::MaxLanes(DV()) == kLanes) {
    return x;
  } else {
    return hn::LowerHalf(d, x);
  }
}

// One tile: kRows rows from `row`, kVecs vectors of columns from panel `panel`, of which the last
// has `tail` columns unless kTail is kFullTail.
template <int kRows, int kVecs, Tail kTail>
void tile(const GemmSlice* slices, int num_slices, std::int64_t row, std::int64_t panel,
          std::int64_t tail, const float* z, std::ptrdiff_t ldz, float* c, std::ptrdiff_t ldc) {
  constexpr int kFull = kTail == kFullTail ? kVecs : kVecs - 1;
  constexpr std::conditional_t<kTail == kHalfTail, decltype(kHalfTag), decltype(kTag)> kTailTag;
  Vec acc[kRows][std::max(kFull, 1)];
  hn::Vec<std::remove_const_t<decltype(kTailTag)>> last[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kFull; ++v) acc[r][v] = hn::Zero(kTag);
    last[r] = hn::Zero(kTailTag);
  }
  for (const GemmSlice* s = slices; s != slices + num_slices; ++s) {
    const float* a[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) a[r] = s->a + (row + r) * s->a_row;
    const float* b = s->b + panel * s->b_panel;
    std::ptrdiff_t offset = 0;
    for (std::int64_t k = s->k; k > 0; --k, b += s->b_row, offset += s->a_col) {
      Vec b_row[std::max(kFull, 1)];
#pragma GCC unroll 4
      for (int v = 0; v < kFull; ++v) b_row[v] = hn::LoadU(kTag, b + v * kLanes);
      auto b_last = hn::Zero(kTailTag);
      if constexpr (kTail != kFullTail) b_last = load_first(kTailTag, b + kFull * kLanes, tail);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Vec x = hn::Set(kTag, a[r][offset]);
#pragma GCC unroll 4
        for (int v = 0; v < kFull; ++v) acc[r][v] = hn::MulAdd(x, b_row[v], acc[r][v]);
        if constexpr (kTail != kFullTail) {
          last[r] = hn::MulAdd(first_lanes(kTailTag, x), b_last, last[r]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    float* to = c + r * ldc;
    const float* from = z + r * ldz;
#pragma GCC unroll 4
    for (int v = 0; v < kFull; ++v) {
      Vec sum = acc[r][v];
      if (z != nullptr) sum = hn::Add(sum, hn::LoadU(kTag, from + v * kLanes));
      hn::StoreU(sum, kTag, to + v * kLanes);
    }
    if constexpr (kTail != kFullTail) {
      auto sum = last[r];
      if (z != nullptr) sum = hn::Add(sum, load_first(kTailTag, from + kFull * kLanes, tail));
      store_first(kTailTag, sum, to + kFull * kLanes, tail);
    }
  }
}

using TileFn = GemmTiling::Tile;

// kTiles[vecs - 1][tail][rows - 1]
using TilesOfWidth = std::array<TileFn, kLargestRows>;
using TileTable = std::array<std::array<TilesOfWidth, kTails>, kMaxVecs>;

template <int kVecs, Tail kTail, int... kRow>
constexpr TilesOfWidth tiles_of_width(std::integer_sequence<int, kRow...>) {
  constexpr Tail kKind = kTail == kHalfTail && kLanes < 16 ? kPartTail : kTail;
  return {(kRow < kMaxRows[kVecs] ? &tile<std::min(kRow + 1, kMaxRows[kVecs]), kVecs, kKind>
                                  : nullptr)...};
}

template <int... kVec>
constexpr TileTable all_tiles(std::integer_sequence<int, kVec...>) {
  constexpr auto rows = std::make_integer_sequence<int, kLargestRows>();
  return {{{{tiles_of_width<kVec + 1, kFullTail>(rows), tiles_of_width<kVec + 1, kPartTail>(rows),
             tiles_of_width<kVec + 1, kHalfTail>(rows)}}...}};
}

constexpr TileTable kTiles = all_tiles(std::make_integer_sequence<int, kMaxVecs>());

Tail tail_kind(std::int64_t tail) {
  if (tail == 0) return kFullTail;
  return kLanes >= 16 && tail <= kLanes / 2 ? kHalfTail : kPartTail;
}

std::int64_t panel_columns(std::int64_t n) {
  const std::int64_t vecs = (n + kLanes - 1) / kLanes;
  const std::int64_t panels = (vecs + kMaxVecs - 1) / kMaxVecs;
  return (vecs + panels - 1) / panels * kLanes;  // evenly: 5 vectors as 3 + 2, not as 4 + 1
}

GemmTiling tiling(std::int64_t m, std::int64_t n) {
  GemmTiling t{};
  t.width = panel_columns(n);
  t.panels = n / t.width;
  t.rest = n - t.panels * t.width;
  t.rest_tail = t.rest % kLanes;
  const std::int64_t full_vecs = t.width / kLanes;
  const std::int64_t rest_vecs = (t.rest + kLanes - 1) / kLanes;
  const std::int64_t max_rows =
      kMaxRows[static_cast<std::size_t>(t.panels > 0 ? full_vecs : rest_vecs)];
  t.blocks = (m + max_rows - 1) / max_rows;
  t.rows = m / t.blocks;
  t.taller = m % t.blocks;
  const auto& full_tiles = kTiles[static_cast<std::size_t>(full_vecs - 1)][0];
  const auto& rest_tiles =
      kTiles[static_cast<std::size_t>(std::max<std::int64_t>(rest_vecs, 1) - 1)]
            [tail_kind(t.rest_tail)];
  for (std::size_t more = 0; more <= (t.taller > 0 ? 1 : 0); ++more) {
    const std::size_t index = static_cast<std::size_t>(t.rows - 1) + more;
    t.full_tile[more] = full_tiles[index];
    t.rest_tile[more] = rest_tiles[index];
  }
  return t;
}

void multiply_tiles(const GemmTiling& t, const GemmSlice* slices, int num_slices, const float* z,
                    std::ptrdiff_t ldz, float* c, std::ptrdiff_t ldc) {
  // Rows outside, columns inside: a tile's rows of A stay in the first-level cache.
  for (std::int64_t block = 0, row = 0; block < t.blocks; ++block) {
    const std::size_t more = block < t.taller ? 1 : 0;
    float* to = c + row * ldc;
    const float* from = z == nullptr ? nullptr : z + row * ldz;
    for (std::int64_t panel = 0; panel < t.panels; ++panel) {
      t.full_tile[more](slices, num_slices, row, panel, 0, from, ldz, to, ldc);
      to += t.width;
      if (from != nullptr) from += t.width;
    }
    if (t.rest > 0)
      t.rest_tile[more](slices, num_slices, row, t.panels, t.rest_tail, from, ldz, to, ldc);
    row += t.rows + static_cast<std::int64_t>(more);
  }
}

void multiply(const GemmSlice* slices, int num_slices, std::int64_t m, std::int64_t n,
              const float* z, std::ptrdiff_t ldz, float* c, std::ptrdiff_t ldc) {
  multiply_tiles(tiling(m, n), slices, num_slices, z, ldz, c, ldc);
}

// --- transposition -------------------------------------------------------------------------------

#if HWY_TARGET == HWY_SCALAR

void transpose(const float* from, std::ptrdiff_t ld_from, std::int64_t rows, std::int64_t cols,
               float* to, std::ptrdiff_t ld_to) {
  for (std::int64_t j = 0; j < cols; ++j) {
    for (std::int64_t i = 0; i < rows; ++i) to[j * ld_to + i] = from[i * ld_from + j];
  }
}

void multiply_nt(const GemmSlice* slices, int num_slices, std::int64_t m, std::int64_t n,
                 const float* z, std::ptrdiff_t ldz, float* c, std::ptrdiff_t ldc) {
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      float sum = 0;
      for (const GemmSlice* s = slices; s != slices + num_slices; ++s) {
        for (std::int64_t k = 0; k < s->k; ++k)
          sum += s->a[i * s->a_row + k] * s->b[j * s->b_row + k];
      }
      c[i * ldc + j] = z == nullptr ? sum : sum + z[i * ldz + j];
    }
  }
}

#else

constexpr hn::FixedTag<float, 4> kQuadTag;  // transpositions work on blocks of 4 columns
using Quad = hn::Vec<decltype(kQuadTag)>;

// Four vectors, each of 4-lane blocks, seen as 4×4 matrices: transposes all of them.
template <class DV, class V>
HWY_INLINE void transpose4(DV d, V& r0, V& r1, V& r2, V& r3) {
  const hn::Repartition<double, DV> dd;
  const V t0 = hn::InterleaveLower(d, r0, r1);
  const V t1 = hn::InterleaveUpper(d, r0, r1);
  const V t2 = hn::InterleaveLower(d, r2, r3);
  const V t3 = hn::InterleaveUpper(d, r2, r3);
  r0 = hn::BitCast(d, hn::InterleaveLower(dd, hn::BitCast(dd, t0), hn::BitCast(dd, t2)));
  r1 = hn::BitCast(d, hn::InterleaveUpper(dd, hn::BitCast(dd, t0), hn::BitCast(dd, t2)));
  r2 = hn::BitCast(d, hn::InterleaveLower(dd, hn::BitCast(dd, t1), hn::BitCast(dd, t3)));
  r3 = hn::BitCast(d, hn::InterleaveUpper(dd, hn::BitCast(dd, t1), hn::BitCast(dd, t3)));
}

HWY_INLINE void transpose_4x4(const float* from, std::ptrdiff_t ld_from, float* to,
                              std::ptrdiff_t ld_to) {
  Quad r0 = hn::LoadU(kQuadTag, from);
  Quad r1 = hn::LoadU(kQuadTag, from + ld_from);
  Quad r2 = hn::LoadU(kQuadTag, from + 2 * ld_from);
  Quad r3 = hn::LoadU(kQuadTag, from + 3 * ld_from);
  transpose4(kQuadTag, r0, r1, r2, r3);
  hn::StoreU(r0, kQuadTag, to);
  hn::StoreU(r1, kQuadTag, to + ld_to);
  hn::StoreU(r2, kQuadTag, to + 2 * ld_to);
  hn::StoreU(r3, kQuadTag, to + 3 * ld_to);
}

#if HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86
constexpr int kRowBlock = 8;
constexpr hn::FixedTag<float, 8> kOctTag;

// 8 rows × 4 columns: rows i and i + 4 share a vector, so in-lane shuffles suffice and the upper
// halves are inserted straight from memory.
HWY_INLINE void transpose_block(const float* from, std::ptrdiff_t ld_from, float* to,
                                std::ptrdiff_t ld_to) {
  const auto rows = [&](std::ptrdiff_t i) HWY_ATTR {
    return hn::Combine(kOctTag, hn::LoadU(kQuadTag, from + (i + 4) * ld_from),
                       hn::LoadU(kQuadTag, from + i * ld_from));
  };
  auto r0 = rows(0);
  auto r1 = rows(1);
  auto r2 = rows(2);
  auto r3 = rows(3);
  transpose4(kOctTag, r0, r1, r2, r3);
  hn::StoreU(r0, kOctTag, to);
  hn::StoreU(r1, kOctTag, to + ld_to);
  hn::StoreU(r2, kOctTag, to + 2 * ld_to);
  hn::StoreU(r3, kOctTag, to + 3 * ld_to);
}
#else
constexpr int kRowBlock = 4;
HWY_INLINE void transpose_block(const float* from, std::ptrdiff_t ld_from, float* to,
                                std::ptrdiff_t ld_to) {
  transpose_4x4(from, ld_from, to, ld_to);
}
#endif

constexpr std::int64_t kSquare = 16;
constexpr std::int64_t kCachedFloats = 2048;  // so small, source and target stay in the cache

void transpose(const float* from, std::ptrdiff_t ld_from, std::int64_t rows, std::int64_t cols,
               float* to, std::ptrdiff_t ld_to) {
  if (rows < 4 || cols < 4) {
    for (std::int64_t j = 0; j < cols; ++j) {
      for (std::int64_t i = 0; i < rows; ++i) to[j * ld_to + i] = from[i * ld_from + j];
    }
    return;
  }
  // By squares of 16, unless all is in the cache: a line of the source is read in full while it is
  // in the cache, and a line of the target is written by two blocks, one soon after the other.
  // Remainders are blocks moved back inside the matrix: they write some elements twice, with the
  // same value.
  const std::int64_t columns = rows * cols <= kCachedFloats ? cols : kSquare;
  for (std::int64_t i0 = 0; i0 < rows; i0 += kSquare) {
    const std::int64_t i_end = std::min(i0 + kSquare, rows);
    for (std::int64_t j0 = 0; j0 < cols; j0 += columns) {
      const std::int64_t j_end = std::min(j0 + columns, cols);
      std::int64_t i = i0;
      for (; i + kRowBlock <= i_end; i += kRowBlock) {
        for (std::int64_t j = j0; j < j_end; j += 4) {
          const std::int64_t col = std::min(j, cols - 4);
          transpose_block(from + i * ld_from + col, ld_from, to + col * ld_to + i, ld_to);
        }
      }
      for (; i < i_end; i += 4) {
        const std::int64_t row = std::min(i, rows - 4);
        for (std::int64_t j = j0; j < j_end; j += 4) {
          const std::int64_t col = std::min(j, cols - 4);
          transpose_4x4(from + row * ld_from + col, ld_from, to + col * ld_to + row, ld_to);
        }
      }
    }
  }
}

// --- C = sum of A·Bᵀ, a dot product per element --------------------------------------------------

// Sum of v's 4-lane blocks.
HWY_INLINE Quad fold(Vec v) {
#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86
  const hn::FixedTag<float, 8> oct;
  const auto half = hn::Add(hn::LowerHalf(oct, v), hn::UpperHalf(oct, v));
  return hn::Add(hn::LowerHalf(kQuadTag, half), hn::UpperHalf(kQuadTag, half));
#elif HWY_TARGET == HWY_AVX2
  return hn::Add(hn::LowerHalf(kQuadTag, v), hn::UpperHalf(kQuadTag, v));
#else
  return v;
#endif
}

// c[0..kRows) × 4 columns from `col`; only `width` of these exist (rows of B beyond are read as the
// last one).
template <int kRows>
void dots(const GemmSlice* slices, int num_slices, std::int64_t row, std::int64_t col,
          std::int64_t width, const float* z, std::ptrdiff_t ldz, float* c, std::ptrdiff_t ldc) {
  Vec acc[kRows][4];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) acc[r][j] = hn::Zero(kTag);
  }
  for (const GemmSlice* s = slices; s != slices + num_slices; ++s) {
    const float* a = s->a + row * s->a_row;
    const float* b[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j)
      b[j] = s->b + (col + std::min<std::int64_t>(j, width - 1)) * s->b_row;
    const auto step = [&](auto load) HWY_ATTR {
      Vec x[kRows];
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) x[r] = load(a + r * s->a_row);
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const Vec y = load(b[j]);
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) acc[r][j] = hn::MulAdd(x[r], y, acc[r][j]);
      }
    };
    std::int64_t k = 0;
    for (; k + kLanes <= s->k; k += kLanes) {
      step([k](const float* p) HWY_ATTR { return hn::LoadU(kTag, p + k); });
    }
    if (const std::int64_t tail = s->k - k; tail > 0) {
      step([k, tail](const float* p) HWY_ATTR { return load_first(kTag, p + k, tail); });
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    Quad q0 = fold(acc[r][0]);
    Quad q1 = fold(acc[r][1]);
    Quad q2 = fold(acc[r][2]);
    Quad q3 = fold(acc[r][3]);
    transpose4(kQuadTag, q0, q1, q2, q3);
    HWY_ALIGN float sums[4];
    hn::Store(hn::Add(hn::Add(q0, q1), hn::Add(q2, q3)), kQuadTag, sums);
    for (std::int64_t j = 0; j < width; ++j)
      c[r * ldc + j] = z == nullptr ? sums[j] : sums[j] + z[r * ldz + j];
  }
}

void multiply_nt(const GemmSlice* slices, int num_slices, std::int64_t m, std::int64_t n,
                 const float* z, std::ptrdiff_t ldz, float* c, std::ptrdiff_t ldc) {
  constexpr std::int64_t kMost = kMaxVecs >= 4 ? 4 : 2;  // rows at once: 4·kMost sums in registers
  for (std::int64_t col = 0; col < n; col += 4) {
    const std::int64_t width = std::min<std::int64_t>(4, n - col);
    for (std::int64_t row = 0; row < m;) {
      const std::int64_t height = std::min(kMost, m - row);
      const float* from = z == nullptr ? nullptr : z + row * ldz + col;
      float* to = c + row * ldc + col;
      if (height == 4) {
        dots<4>(slices, num_slices, row, col, width, from, ldz, to, ldc);
      } else if (height == 3) {
        dots<3>(slices, num_slices, row, col, width, from, ldz, to, ldc);
      } else if (height == 2) {
        dots<2>(slices, num_slices, row, col, width, from, ldz, to, ldc);
      } else {
        dots<1>(slices, num_slices, row, col, width, from, ldz, to, ldc);
      }
      row += height;
    }
  }
}

#endif  // HWY_TARGET == HWY_SCALAR

const GemmKernels* kernels() {
  static const GemmKernels table = {hwy::TargetName(HWY_TARGET),
                                    kLanes,
                                    panel_columns,
                                    multiply,
                                    tiling,
                                    multiply_tiles,
                                    multiply_nt,
                                    transpose};
  return &table;
}

}  // namespace HWY_NAMESPACE
}  // namespace mixflow
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/every_target.h"

namespace mixflow {

HWY_EXPORT(kernels);

const GemmKernels& gemm_kernels() { return *HWY_DYNAMIC_DISPATCH(kernels)(); }

std::vector<const GemmKernels*> all_gemm_kernels() {
  std::vector<const GemmKernels*> all;
  on_every_target(HWY_TARGETS, [&] { all.push_back(&gemm_kernels()); });
  return all;
}

}  // namespace mixflow
#endif  // HWY_ONCE
