#pragma once

#include <bit>
#include <cstdint>

namespace mixflow {

// Numbers as files store them, of types that C++20 does not have.

// Any byte but 0 is true: a bool that is neither 0 nor 1 must not be undefined behaviour.
struct Truth {
  std::uint8_t byte;
  explicit operator float() const { return byte != 0 ? 1.0F : 0.0F; }
  explicit operator double() const { return byte != 0 ? 1.0 : 0.0; }
  explicit operator std::int32_t() const { return byte != 0 ? 1 : 0; }
};

// The upper half of a float32.
struct BFloat16 {
  std::uint16_t bits;
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16U);
  }
  explicit operator double() const { return static_cast<double>(static_cast<float>(*this)); }
};

// IEEE 754 binary16. Subnormal numbers are made from integers: a thread may take small floats for
// 0.
struct Float16 {
  std::uint16_t bits;
  explicit operator float() const {
    const std::uint32_t sign = (bits & 0x8000U) << 16U, rest = bits & 0x7fffU;
    const std::uint32_t small = std::bit_cast<std::uint32_t>(static_cast<float>(rest) * 0x1p-24F);
    const std::uint32_t usual = (rest << 13U) + (112U << 23U);
    const std::uint32_t special = rest << 13U | 0x7f800000U;  // infinity, NaN
    return std::bit_cast<float>(sign | (rest < 0x0400U ? small : rest < 0x7c00U ? usual : special));
  }
  explicit operator double() const { return static_cast<double>(static_cast<float>(*this)); }
};

}  // namespace mixflow
