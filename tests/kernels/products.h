// Products for tests: operands of a shape, the definition in f64, and a run between guard bytes.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "kernels/gemm.h"
#include "kernels/guarded.h"
#include "util/rng.h"

namespace mixflow::testing {

struct Flags {
  bool trans_a, trans_b;
};

inline std::string describe(const GemmShape& shape) {
  std::string text = std::to_string(shape.batch) + " x [" + std::to_string(shape.m) + "," +
                     std::to_string(shape.n) + "]" + (shape.add_z ? " + z" : "") + " on " +
                     std::to_string(shape.threads);
  for (const GemmProduct& p : shape.products) {
    text += ", k " + std::to_string(p.k) + (p.trans_a ? " ta" : "") + (p.trans_b ? " tb" : "");
  }
  if (shape.kernels != nullptr) text += std::string(", ") + shape.kernels->target;
  if (shape.bf16_kernels != nullptr) text += std::string(", ") + shape.bf16_kernels->name;
  return text;
}

inline std::vector<float> draw(std::int64_t n, Rng& rng) {
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = static_cast<float>(rng.uniform(-1, 1));
  return values;
}

// The operands of a shape, A_0, B_0, .. (, Z), packed densely so that reading past one reaches the
// next or an end that the sanitizer watches.
struct Operands {
  std::vector<std::vector<float>> values;
  std::vector<const std::byte*> in;

  Operands(const GemmShape& shape, Rng& rng) {
    for (const GemmProduct& p : shape.products) {
      values.push_back(draw((p.a_batch == 0 ? 1 : shape.batch) * shape.m * p.k, rng));
      values.push_back(draw((p.b_batch == 0 ? 1 : shape.batch) * p.k * shape.n, rng));
    }
    if (shape.add_z) values.push_back(draw(shape.batch * shape.m * shape.n, rng));
    for (const auto& value : values) in.push_back(reinterpret_cast<const std::byte*>(value.data()));
  }
};

// sum over k of x[k * x_step] y[k * y_step]; nearly all of the tests' time, so without sanitizers.
__attribute__((no_sanitize("address", "undefined"))) inline double dot(
    const float* x, std::int64_t x_step, const float* y, std::int64_t y_step, std::int64_t k) {
  double sum = 0;
  for (; k > 0; --k, x += x_step, y += y_step) {
    sum += static_cast<double>(*x) * static_cast<double>(*y);
  }
  return sum;
}

// The definition, in f64.
inline std::vector<double> reference(const GemmShape& shape, const Operands& operands) {
  std::vector<double> c;
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t i = 0; i < shape.m; ++i) {
      for (std::int64_t j = 0; j < shape.n; ++j) {
        double sum = 0;
        for (std::size_t p = 0; p < shape.products.size(); ++p) {
          const GemmProduct& product = shape.products[p];
          const float* x =
              operands.values[2 * p].data() + (product.a_batch == 0 ? 0 : b * shape.m * product.k);
          const float* y = operands.values[2 * p + 1].data() +
                           (product.b_batch == 0 ? 0 : b * product.k * shape.n);
          const auto [row, x_step] =
              product.trans_a ? std::pair(i, shape.m) : std::pair(i * product.k, std::int64_t{1});
          const auto [column, y_step] =
              product.trans_b ? std::pair(j * product.k, std::int64_t{1}) : std::pair(j, shape.n);
          sum += dot(x + row, x_step, y + column, y_step, product.k);
        }
        if (shape.add_z) {
          sum += static_cast<double>(
              operands.values.back()[static_cast<std::size_t>((b * shape.m + i) * shape.n + j)]);
        }
        c.push_back(sum);
      }
    }
  }
  return c;
}

// Runs the kernel into a fresh buffer (over a copy of Z if `in_place`) and checks the guards.
inline std::vector<float> run(const Kernel& kernel, const GemmShape& shape,
                              const Operands& operands, bool in_place) {
  const std::int64_t size = shape.batch * shape.m * shape.n;
  Guarded out(size * 4, 4);
  Guarded scratch(kernel.scratch_bytes);
  std::fill_n(out.as<float>(), size, std::nanf(""));  // what was there before must not matter
  std::vector<const std::byte*> in = operands.in;
  if (in_place) {
    std::copy_n(operands.values.back().data(), size, out.as<float>());
    in.back() = out.data();
  }
  std::byte* outs[] = {out.data()};
  kernel.run(in.data(), outs, scratch.data());
  CHECK(out.intact());
  CHECK(scratch.intact());
  return {out.as<float>(), out.as<float>() + size};
}

// How far a sum in f32 may be off.
inline double tolerance(const GemmShape& shape) {
  std::int64_t terms = 2;
  for (const GemmProduct& p : shape.products) terms += p.k;
  // Operands are below 1, so partial sums of n terms stay near sqrt(n)/3 and the worst of many
  // results is off by less than 3 n roundings of 1; a wrong or missing term is off by 0.1.
  return 2e-7 * (4.0 + static_cast<double>(terms));
}

inline bool all_close(const std::vector<float>& c, const std::vector<double>& expected,
                      double tolerance) {
  bool close = c.size() == expected.size();
  for (std::size_t i = 0; close && i < expected.size(); ++i) {
    close = std::abs(expected[i] - static_cast<double>(c[i])) <= tolerance;  // false if NaN
  }
  return close;
}

constexpr Flags kAllFlags[] = {{false, false}, {false, true}, {true, false}, {true, true}};

}  // namespace mixflow::testing
