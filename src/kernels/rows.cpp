#include "kernels/rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rows.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "kernels/tile_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mixflow {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr hn::ScalableTag<float> kTag;
using Vec = hn::Vec<hn::ScalableTag<float>>;

std::int64_t lanes() { return static_cast<std::int64_t>(hn::Lanes(kTag)); }

constexpr std::int64_t kChunk =
    1024;  // f32 partial sums are added up in f64 after so many elements

double sum(const float* x, std::int64_t n) {
  const std::int64_t step = lanes();
  double total = 0;
  std::int64_t i = 0;
  while (n - i >= step) {
    const std::int64_t end = i + std::min(n - i, kChunk) / step * step;
    Vec s0 = hn::Zero(kTag);
    Vec s1 = s0;
    Vec s2 = s0;
    Vec s3 = s0;
    for (; i + 4 * step <= end; i += 4 * step) {
      s0 = hn::Add(s0, hn::LoadU(kTag, x + i));
      s1 = hn::Add(s1, hn::LoadU(kTag, x + i + step));
      s2 = hn::Add(s2, hn::LoadU(kTag, x + i + 2 * step));
      s3 = hn::Add(s3, hn::LoadU(kTag, x + i + 3 * step));
    }
    for (; i < end; i += step) s0 = hn::Add(s0, hn::LoadU(kTag, x + i));
    const Vec all = hn::Add(hn::Add(s0, s1), hn::Add(s2, s3));
    total += hn::GetLane(hn::SumOfLanes(kTag, all));
  }
  for (; i < n; ++i) total += x[i];
  return total;
}

float max(const float* x, std::int64_t n) {
  const std::int64_t step = lanes();
  float most = -std::numeric_limits<float>::infinity();
  std::int64_t i = 0;
  if (n >= step) {
    Vec m0 = hn::LoadU(kTag, x);
    Vec m1 = m0;
    for (i = step; i + 2 * step <= n; i += 2 * step) {
      m0 = hn::Max(hn::LoadU(kTag, x + i), m0);
      m1 = hn::Max(hn::LoadU(kTag, x + i + step), m1);
    }
    most = std::max(most, hn::GetLane(hn::MaxOfLanes(kTag, hn::Max(m0, m1))));
  }
  for (; i < n; ++i) most = std::max(most, x[i]);
  return most;
}

double sum_exp(const float* x, std::int64_t n, float shift) {
  const std::int64_t step = lanes();
  const Vec low = hn::Set(kTag, shift);
  double total = 0;
  std::int64_t i = 0;
  while (n - i >= step) {
    const std::int64_t end = i + std::min(n - i, kChunk) / step * step;
    const auto at = [&](std::int64_t k) {
      return tile_exp_below_zero(kTag, hn::Sub(hn::LoadU(kTag, x + k), low));
    };
    Vec s0 = hn::Zero(kTag), s1 = s0;
    for (; i + 2 * step <= end; i += 2 * step) {
      s0 = hn::Add(s0, at(i));
      s1 = hn::Add(s1, at(i + step));
    }
    if (i < end) {
      s0 = hn::Add(s0, at(i));
      i += step;
    }
    total += hn::GetLane(hn::SumOfLanes(kTag, hn::Add(s0, s1)));
  }
  for (; i < n; ++i) total += std::exp(x[i] - shift);
  return total;
}

void accumulate(double* sums, const float* x, std::int64_t n) {
  const hn::ScalableTag<double> wide;
  const hn::Rebind<float, hn::ScalableTag<double>> narrow;
  const auto step = static_cast<std::int64_t>(hn::Lanes(wide));
  std::int64_t i = 0;
  for (; i + step <= n; i += step) {
    const auto v = hn::PromoteTo(wide, hn::LoadU(narrow, x + i));
    hn::StoreU(hn::Add(hn::LoadU(wide, sums + i), v), wide, sums + i);
  }
  for (; i < n; ++i) sums[i] += x[i];
}

void add(float* y, const float* x, std::int64_t n) {
  const std::int64_t step = lanes();
  std::int64_t i = 0;
  for (; i + step <= n; i += step) {
    hn::StoreU(hn::Add(hn::LoadU(kTag, y + i), hn::LoadU(kTag, x + i)), kTag, y + i);
  }
  for (; i < n; ++i) y[i] += x[i];
}

void max_into(float* y, const float* x, std::int64_t n) {
  const std::int64_t step = lanes();
  std::int64_t i = 0;
  for (; i + step <= n; i += step) {
    hn::StoreU(hn::Max(hn::LoadU(kTag, x + i), hn::LoadU(kTag, y + i)), kTag, y + i);
  }
  for (; i < n; ++i) y[i] = std::max(y[i], x[i]);
}

const RowKernels* table() {
  static constexpr RowKernels kernels = {sum, max, sum_exp, accumulate, add, max_into};
  return &kernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace mixflow
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mixflow {
HWY_EXPORT(table);
const RowKernels& row_kernels() { return *HWY_DYNAMIC_DISPATCH(table)(); }
}  // namespace mixflow
#endif  // HWY_ONCE
