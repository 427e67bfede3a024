#include "util/finite.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace mixflow {
namespace {

constexpr std::size_t kBlock = 4096;

// Integer comparisons: a sum of floats could not be split over vector lanes.
template <class Bits, Bits kExponent, class Float>
bool has_non_finite(const Float* values, std::size_t count) {
  Bits found = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Bits exponent = std::bit_cast<Bits>(values[i]) & kExponent;
    found |= static_cast<Bits>(exponent == kExponent);
  }
  return found != 0;
}

template <class Bits, Bits kExponent, class Float>
std::optional<std::size_t> first_in(std::span<const Float> values) {
  for (std::size_t from = 0; from < values.size(); from += kBlock) {
    const std::size_t to = std::min(from + kBlock, values.size());
    if (!has_non_finite<Bits, kExponent>(values.data() + from, to - from)) continue;
    for (std::size_t i = from; i < to; ++i) {
      if (!std::isfinite(values[i])) return i;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::size_t> first_non_finite(std::span<const float> values) {
  return first_in<std::uint32_t, 0x7f800000U>(values);
}

std::optional<std::size_t> first_non_finite(std::span<const double> values) {
  return first_in<std::uint64_t, 0x7ff0000000000000U>(values);
}

}  // namespace mixflow
