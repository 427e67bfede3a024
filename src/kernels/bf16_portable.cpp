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
constexpr auto kStep = static_cast<std::int64_t>(kLanes);
constexpr std::size_t kVectors = kBf16Vectors;
constexpr std::size_t kPairs = kBf16Terms / 2;

// The bits of x rounded to bf16, in the upper half of each word; the lower half is rubbish.
HWY_INLINE Words rounded(Floats x) {
  const Words bits = hn::BitCast(kWords, x);
  const Words odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(kWords, 1));
  const Words up = hn::Add(hn::Add(bits, hn::Set(kWords, 0x7FFF)), odd);
  const Words quiet = hn::Or(bits, hn::Set(kWords, 0x00400000));
  return hn::IfThenElse(hn::RebindMask(kWords, hn::IsNaN(x)), quiet, up);
}

// The values of bf16 in either half of each word.
HWY_INLINE Floats upper_halves(Words word) {
  return hn::BitCast(kFloats, hn::And(word, hn::Set(kWords, 0xFFFF0000)));
}
HWY_INLINE Floats lower_halves(Words word) { return hn::BitCast(kFloats, hn::ShiftLeft<16>(word)); }

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

void round(const float* from, std::ptrdiff_t ld, std::int64_t rows, std::int64_t columns, float* to,
           std::ptrdiff_t ld_to) {
  const auto at = [&](const float* x)
                      HWY_ATTR { return upper_halves(rounded(hn::LoadU(kFloats, x))); };
  for (std::int64_t i = 0; i < rows; ++i, from += ld, to += ld_to) {
    std::int64_t j = 0;
    for (; j + kStep <= columns; j += kStep) hn::StoreU(at(from + j), kFloats, to + j);
    if (j == columns) continue;
    HWY_ALIGN float rest[kLanes] = {};
    std::copy(from + j, from + columns, rest);
    hn::Store(at(rest), kFloats, rest);
    std::copy_n(rest, columns - j, to + j);
  }
}

void unpack_rows(const std::uint32_t* tile, float* to, std::ptrdiff_t ld_to) {
  for (std::size_t v = 0; v < kVectors; ++v, tile += kPairs, to += ld_to) {
    for (std::size_t p = 0; p < kPairs; p += kLanes) {
      const Words word = hn::LoadU(kWords, tile + p);
      hn::StoreInterleaved2(lower_halves(word), upper_halves(word), kFloats, to + 2 * p);
    }
  }
}

void unpack_columns(const std::uint32_t* tile, std::int64_t columns, float* to,
                    std::ptrdiff_t ld_to) {
  for (std::size_t p = 0; p < kPairs; ++p, tile += kVectors, to += 2 * ld_to) {
    std::int64_t j = 0;
    for (; j + kStep <= columns; j += kStep) {
      const Words word = hn::LoadU(kWords, tile + j);
      hn::StoreU(lower_halves(word), kFloats, to + j);
      hn::StoreU(upper_halves(word), kFloats, to + ld_to + j);
    }
    for (; j < columns; ++j) {
      to[j] = std::bit_cast<float>(tile[j] << 16);
      to[ld_to + j] = std::bit_cast<float>(tile[j] & 0xFFFF0000U);
    }
  }
}

}  // namespace

const Bf16Kernels* bf16_table() {
  static constexpr Bf16Kernels kTable = {.name = "rounded_f32",
                                         .pack = pack,
                                         .round = round,
                                         .unpack_rows = unpack_rows,
                                         .unpack_columns = unpack_columns};
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
