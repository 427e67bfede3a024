// Pairs of bf16 are words of 32 bits: the upper one is its f32 when the lower is masked away, the
// lower when it is shifted up. So any CPU with f32 vectors multiplies them.
#include <algorithm>
#include <bit>

#include "kernels/bf16_kernels.h"

// Scalable vectors cannot be held in arrays; the fixed-size targets serve those CPUs too.
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/bf16_portable.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace mixflow {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr hn::CappedTag<float, 16> kFloats;
constexpr hn::RebindToUnsigned<decltype(kFloats)> kWords;
using Floats = hn::Vec<decltype(kFloats)>;
using Words = hn::Vec<decltype(kWords)>;
constexpr std::size_t kLanes = hn::MaxLanes(kFloats);
constexpr std::size_t kVectors = kBf16Vectors;
constexpr std::size_t kPairs = kBf16Terms / 2;
constexpr std::size_t kParts = kVectors / kLanes;  // vectors of a tile's 16 columns

// The bits of x rounded to bf16, in the upper half of each word; the lower half is rubbish.
HWY_INLINE Words rounded(Floats x) {
  const Words bits = hn::BitCast(kWords, x);
  const Words odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(kWords, 1));
  const Words up = hn::Add(hn::Add(bits, hn::Set(kWords, 0x7FFF)), odd);
  const Words quiet = hn::Or(bits, hn::Set(kWords, 0x00400000));
  return hn::IfThenElse(hn::RebindMask(kWords, hn::IsNaN(x)), quiet, up);
}

HWY_INLINE Words pairs(Floats even, Floats odd) {
  return hn::Or(hn::ShiftRight<16>(rounded(even)),
                hn::And(rounded(odd), hn::Set(kWords, 0xFFFF0000)));
}

void turn(const std::uint32_t* from, std::uint32_t* to) {
  for (std::size_t i = 0; i < kVectors; ++i) {
    for (std::size_t j = 0; j < kPairs; ++j) to[j * kVectors + i] = from[i * kPairs + j];
  }
}

void pack_tile(const float* from, std::ptrdiff_t ld, bool terms_contiguous, bool side_by_side,
               std::uint32_t* to) {
  // Terms that are contiguous give pairs of a vector; terms at a stride give a pair of all vectors.
  const bool as_they_come = terms_contiguous != side_by_side;
  HWY_ALIGN std::uint32_t buffer[kBf16TileWords];
  std::uint32_t* first = as_they_come ? to : buffer;
  for (std::size_t i = 0; i < 16; ++i) {
    const auto row = static_cast<std::ptrdiff_t>(i);
    for (std::size_t j = 0; j < 16; j += kLanes) {
      Floats even, odd;
      if (terms_contiguous) {
        hn::LoadInterleaved2(kFloats, from + row * ld + 2 * j, even, odd);
      } else {
        even = hn::LoadU(kFloats, from + 2 * row * ld + j);
        odd = hn::LoadU(kFloats, from + (2 * row + 1) * ld + j);
      }
      hn::Store(pairs(even, odd), kWords, first + i * 16 + j);
    }
  }
  if (!as_they_come) turn(buffer, to);
}

void pack(const float* from, std::ptrdiff_t ld, bool terms_contiguous, bool side_by_side,
          std::int64_t count, std::uint32_t* to, std::ptrdiff_t next) {
  for (std::int64_t i = 0; i < count; ++i) {
    pack_tile(from + i * kBf16Vectors * (terms_contiguous ? ld : 1), ld, terms_contiguous,
              side_by_side, to + i * next);
  }
}

// kRows rows of C by 16 columns.
constexpr std::size_t kRows = kParts <= 2 ? 4 : 2;

HWY_INLINE void strip(const std::uint32_t* a, const std::uint32_t* b, std::int64_t tiles,
                      float* c) {
  Floats sums[kRows][kParts];
  for (auto& row : sums) {
    for (Floats& sum : row) sum = hn::Zero(kFloats);
  }
  const Words upper = hn::Set(kWords, 0xFFFF0000);
  for (std::int64_t t = 0; t < tiles; ++t, a += kBf16TileWords, b += kBf16TileWords) {
    for (std::size_t p = 0; p < kPairs; ++p) {
      Floats even[kParts], odd[kParts];
      for (std::size_t j = 0; j < kParts; ++j) {
        const Words word = hn::Load(kWords, b + p * kVectors + j * kLanes);
        even[j] = hn::BitCast(kFloats, hn::ShiftLeft<16>(word));
        odd[j] = hn::BitCast(kFloats, hn::And(word, upper));
      }
      for (std::size_t i = 0; i < kRows; ++i) {
        const std::uint32_t word = a[i * kPairs + p];
        const Floats x = hn::Set(kFloats, std::bit_cast<float>(word << 16));
        const Floats y = hn::Set(kFloats, std::bit_cast<float>(word & 0xFFFF0000U));
        for (std::size_t j = 0; j < kParts; ++j) {
          sums[i][j] = hn::MulAdd(y, odd[j], hn::MulAdd(x, even[j], sums[i][j]));
        }
      }
    }
  }
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t j = 0; j < kParts; ++j) {
      hn::Store(sums[i][j], kFloats, c + i * kVectors + j * kLanes);
    }
  }
}

void block(const std::uint32_t* a, std::ptrdiff_t a_next, const std::uint32_t* b,
           std::ptrdiff_t b_next, std::int64_t tiles, std::int64_t m, std::int64_t n, float* c,
           std::ptrdiff_t ldc, bool add) {
  constexpr auto kStep = static_cast<std::int64_t>(kRows);
  HWY_ALIGN float sums[kRows * kVectors];
  for (std::int64_t j = 0; j < n; j += kBf16Vectors, b += b_next) {
    const std::int64_t columns = std::min(kBf16Vectors, n - j);
    for (std::int64_t i = 0; i < m; i += kStep) {
      strip(a + i / kBf16Vectors * a_next + i % kBf16Vectors * (kBf16Terms / 2), b, tiles, sums);
      for (std::int64_t r = i; r < std::min(i + kStep, m); ++r) {
        float* row = c + r * ldc + j;
        const float* sum = sums + (r - i) * kBf16Vectors;
        for (std::int64_t k = 0; k < columns; ++k) row[k] = add ? row[k] + sum[k] : sum[k];
      }
    }
  }
}

void nothing() {}

}  // namespace

const Bf16Kernels* bf16_table() {
  static constexpr Bf16Kernels kTable = {"portable", pack, block, nothing, nothing};
  return &kTable;
}

}  // namespace HWY_NAMESPACE
}  // namespace mixflow
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/every_target.h"

namespace mixflow {

HWY_EXPORT(bf16_table);
const Bf16Kernels& portable_bf16_kernels() { return *HWY_DYNAMIC_DISPATCH(bf16_table)(); }

std::vector<const Bf16Kernels*> all_portable_bf16_kernels() {
  std::vector<const Bf16Kernels*> all;
  on_every_target(HWY_TARGETS, [&] { all.push_back(&portable_bf16_kernels()); });
  return all;
}

}  // namespace mixflow
#endif
