// Transcendental functions for the tile ops, per SIMD target: Highway's polynomials with their
// domains closed (overflow, infinities, NaN, large angles) and stable forms built from them.
// Included once per target.
#if defined(MIXFLOW_KERNELS_TILE_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef MIXFLOW_KERNELS_TILE_MATH_INL_H_
#undef MIXFLOW_KERNELS_TILE_MATH_INL_H_
#else
#define MIXFLOW_KERNELS_TILE_MATH_INL_H_
#endif

#include <cmath>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace mixflow::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// exp(r) on [-log 2 / 2, log 2 / 2], by the polynomial of Cephes' expf, within 1 ulp.
template <class D, class V>
HWY_INLINE V tile_exp_near_zero(D d, V r) {
  V p = hn::Set(d, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  return hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
}

// x - n log 2
template <class D, class V>
HWY_INLINE V tile_exp_rest(D d, V x, V n) {
  const V r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  return hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
}

constexpr float kLowestExp = -87.33654f;  // exp is denormal below

#if HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86

// exp(x) for x up to 2^20, 0 where it would be denormal. The scaling by 2^n closes the upper end.
template <class D, class V>
HWY_INLINE V tile_exp_scaled(D d, V x) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  V n = hn::Mul(x, hn::Set(d, 1.44269504f));
  n.raw = _mm512_roundscale_ps(n.raw, kNearest);
  V y = tile_exp_near_zero(d, tile_exp_rest(d, x, n));
  const __mmask16 normal = _mm512_cmp_ps_mask(x.raw, _mm512_set1_ps(kLowestExp), _CMP_NLT_UQ);
  y.raw = _mm512_maskz_scalef_ps(normal, y.raw, n.raw);  // NaN stays
  return y;
}

template <class D, class V>
HWY_INLINE V tile_exp(D d, V x) {
  V y = x;
  y.raw = _mm512_min_ps(_mm512_set1_ps(128.0f), x.raw);  // NaN stays: it is the second operand
  return tile_exp_scaled(d, y);
}

// For x <= 0.
template <class D, class V>
HWY_INLINE V tile_exp_below_zero(D d, V x) {
  return tile_exp_scaled(d, x);
}

// The estimate has 14 bits: one step of Newton's is enough.
constexpr int kReciprocalSteps = 1;

#else

template <class D, class V>
HWY_INLINE V tile_exp(D d, V x) {
  constexpr float kLargest = 88.7228394f;  // log of the largest float
  const V y = hn::Exp(d, x);
  const V closed = hn::IfThenElse(hn::Gt(x, hn::Set(d, kLargest)), hn::Inf(d), y);
  return hn::IfThenElse(hn::IsNaN(x), x, closed);
}

// exp(x) for x <= 0; 0 where it would be denormal.
template <class D, class V>
HWY_INLINE V tile_exp_below_zero(D d, V x) {
  const V lowest = hn::Set(d, kLowestExp);
  const auto denormal = hn::Lt(x, lowest);
  const V y = hn::IfThenElse(denormal, lowest, x);  // NaN stays
  const auto n = hn::NearestInt(hn::Mul(y, hn::Set(d, 1.44269504f)));
  const V p = tile_exp_near_zero(d, tile_exp_rest(d, y, hn::ConvertTo(d, n)));
  const hn::RebindToSigned<D> di;
  const auto exponent = hn::ShiftLeft<23>(hn::Max(hn::Add(n, hn::Set(di, 127)), hn::Set(di, 1)));
  return hn::IfThenZeroElse(denormal, hn::Mul(p, hn::BitCast(d, exponent)));
}

// The estimate has 8 bits at least, each step of Newton's doubles them.
constexpr int kReciprocalSteps = 2;

#endif

template <class D, class V>
HWY_INLINE V tile_log(D d, V x) {
  const V zero = hn::Zero(d);
  const V inf = hn::Inf(d);
  const V at_zero_or_below = hn::IfThenElse(hn::Eq(x, zero), hn::Neg(inf), hn::NaN(d));
  const V special = hn::IfThenElse(hn::Le(x, zero), at_zero_or_below, x);  // inf and NaN stay
  const auto regular = hn::And(hn::Gt(x, zero), hn::Lt(x, inf));
  return hn::IfThenElse(regular, hn::Log(d, x), special);
}

// tanh |x| = (e^2|x| - 1) / (e^2|x| + 1); beyond 9 it is 1 in float.
template <class D, class V>
HWY_INLINE V tile_tanh(D d, V x) {
  const V sign = hn::And(hn::SignBit(d), x);
  const V magnitude = hn::Xor(x, sign);
  const V z = hn::Expm1(d, hn::Add(magnitude, magnitude));
  const V y = hn::Div(z, hn::Add(z, hn::Set(d, 2.0f)));
  const V one = hn::Set(d, 1.0f);
  return hn::Xor(hn::IfThenElse(hn::Gt(magnitude, hn::Set(d, 9.5f)), one, y), sign);
}

// 1 / x for x in [1, 2], within 2 ulp: vector divisions take many cycles.
template <class D, class V>
HWY_INLINE V tile_reciprocal_of_1_to_2(D d, V x) {
  V y = hn::ApproximateReciprocal(x);
  for (int i = 0; i < kReciprocalSteps; ++i)
    y = hn::MulAdd(y, hn::NegMulAdd(x, y, hn::Set(d, 1.0f)), y);
  return y;
}

// With e = exp(-|x|), which cannot overflow: 1/(1 + e) for x >= 0, e/(1 + e) below.
template <class D, class V>
HWY_INLINE V tile_sigmoid(D d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V e = tile_exp_below_zero(d, hn::Or(x, hn::SignBit(d)));
  const V numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), e, one);
  return hn::Mul(numerator, tile_reciprocal_of_1_to_2(d, hn::Add(one, e)));
}

// max(x, 0) + log(1 + exp(-|x|))
template <class D, class V>
HWY_INLINE V tile_softplus(D d, V x) {
  const V e = tile_exp(d, hn::Neg(hn::Abs(x)));
  return hn::Add(hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), x), hn::Log1p(d, e));
}

// Applies `exact` to each lane.
template <class D, class V, class F>
HWY_NOINLINE V tile_by_lane(D d, V x, F exact) {
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(x, d, lanes);
  for (std::size_t i = 0; i < hn::Lanes(d); ++i) lanes[i] = exact(lanes[i]);
  return hn::Load(d, lanes);
}

// Highway reduces angles up to 39000 well; larger ones are rare enough for libm.
inline constexpr float kLargestAngle = 30000.0f;

template <class D, class V>
HWY_INLINE V tile_sin(D d, V x) {
  if (HWY_UNLIKELY(!hn::AllTrue(d, hn::Le(hn::Abs(x), hn::Set(d, kLargestAngle))))) {
    return tile_by_lane(d, x, [](float angle) { return std::sin(angle); });
  }
  return hn::Sin(d, x);
}

template <class D, class V>
HWY_INLINE V tile_cos(D d, V x) {
  if (HWY_UNLIKELY(!hn::AllTrue(d, hn::Le(hn::Abs(x), hn::Set(d, kLargestAngle))))) {
    return tile_by_lane(d, x, [](float angle) { return std::cos(angle); });
  }
  return hn::Cos(d, x);
}

}  // namespace mixflow::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
