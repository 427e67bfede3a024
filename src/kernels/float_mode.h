// How a thread computes in floating point: rounding, and what becomes of denormals. Each thread has
// a mode of its own.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace mixflow {

using FloatMode = std::uint64_t;

inline FloatMode float_mode() {
#if defined(__SSE2__)
  return _mm_getcsr() & ~0x3Fu;  // without the flags of what has happened
#elif defined(__aarch64__)
  std::uint64_t fpcr = 0;
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  return fpcr;
#else
  return 0;
#endif
}

inline void set_float_mode([[maybe_unused]] FloatMode mode) {
#if defined(__SSE2__)
  _mm_setcsr(static_cast<unsigned>(mode));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(mode));
#endif
}

// From now on denormals are zero on this thread, in and out: products of denormals are 200 times
// slower.
inline void flush_denormals() {
#if defined(__SSE2__)
  set_float_mode(float_mode() | 0x8040);
#elif defined(__aarch64__)
  set_float_mode(float_mode() | (std::uint64_t{1} << 24));
#endif
}

}  // namespace mixflow
