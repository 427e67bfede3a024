// Sums and products of sizes that come from configs: an overflow is an error, not a smaller number.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "util/error.h"

namespace mixflow {

[[noreturn]] inline void fail_size(const char* what) {
  throw UserError("the experiment is too large: more than 2^63 " + std::string(what) +
                  "; lower the sizes of model, data, inner.steps or meta.batch");
}

// Products and sums of numbers that are not negative; UserError above 2^63 - 1. `what` says what is
// counted.
inline std::int64_t checked_product(const char* what, std::initializer_list<std::int64_t> factors) {
  std::int64_t product = 1;
  for (const std::int64_t factor : factors) {
    if (__builtin_mul_overflow(product, factor, &product)) fail_size(what);
  }
  return product;
}

inline std::int64_t checked_sum(const char* what, std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) fail_size(what);
  return sum;
}

}  // namespace mixflow
