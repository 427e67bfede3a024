#include "kernels/tile_ops.h"

#include <cmath>
#include <cstring>
#include <iterator>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/tile_ops.cpp"
#include "hwy/foreach_target.h"  // must come before highway.h
#include "hwy/highway.h"
#include "kernels/tile_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace mixflow::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// The last n < Lanes elements, without touching memory behind them: buffers end exactly at their
// last element. Highway's masked loads promise that for AVX2 and up only.
HWY_INLINE V load_tail(D d, const float* from, std::size_t n) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  return hn::MaskedLoad(hn::FirstN(d, n), d, from);
#else
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)] = {};
  std::memcpy(lanes, from, n * sizeof(float));
  return hn::Load(d, lanes);
#endif
}

HWY_INLINE void store_tail(D d, V v, float* to, std::size_t n) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  hn::BlendedStore(v, hn::FirstN(d, n), d, to);
#else
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(v, d, lanes);
  std::memcpy(to, lanes, n * sizeof(float));
#endif
}

// One operand of a loop: a stream of floats, or one float for all of it.
template <bool kSplat>
struct Operand {
  HWY_INLINE Operand(D d, const float* p) : from(p), value(kSplat ? hn::Set(d, *p) : hn::Zero(d)) {}
  HWY_INLINE V load(D d, std::size_t i) const {
    if constexpr (kSplat) return value;
    return hn::LoadU(d, from + i);
  }
  HWY_INLINE V tail(D d, std::size_t i, std::size_t n) const {
    if constexpr (kSplat) return value;
    return load_tail(d, from + i, n);
  }
  const float* from;
  V value;
};

// --- loops over a tile: Op::apply(d, x...) on vectors

template <class Op, bool kSplatX = false>
void run_unary(float* dst, const float* a, const float*, const float*, std::size_t n) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const Operand<kSplatX> x(d, a);
  std::size_t i = 0;
#pragma GCC unroll 4
  for (; i + lanes <= n; i += lanes) hn::StoreU(Op::apply(d, x.load(d, i)), d, dst + i);
  if (i < n) store_tail(d, Op::apply(d, x.tail(d, i, n - i)), dst + i, n - i);
}

template <class Op, bool kSplatX, bool kSplatY>
void run_binary(float* dst, const float* a, const float* b, const float*, std::size_t n) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const Operand<kSplatX> x(d, a);
  const Operand<kSplatY> y(d, b);
  std::size_t i = 0;
#pragma GCC unroll 4
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(Op::apply(d, x.load(d, i), y.load(d, i)), d, dst + i);
  }
  if (i < n) {
    store_tail(d, Op::apply(d, x.tail(d, i, n - i), y.tail(d, i, n - i)), dst + i, n - i);
  }
}

template <bool kSplatY, bool kSplatZ>
void run_select(float* dst, const float* a, const float* b, const float* c, std::size_t n) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const V zero = hn::Zero(d);
  const Operand<false> mask(d, a);
  const Operand<kSplatY> y(d, b);
  const Operand<kSplatZ> z(d, c);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto is_zero = hn::Eq(mask.load(d, i), zero);
    hn::StoreU(hn::IfThenElse(is_zero, z.load(d, i), y.load(d, i)), d, dst + i);
  }
  if (i < n) {
    const std::size_t rest = n - i;
    const auto is_zero = hn::Eq(mask.tail(d, i, rest), zero);
    store_tail(d, hn::IfThenElse(is_zero, z.tail(d, i, rest), y.tail(d, i, rest)), dst + i, rest);
  }
}

template <class Op, bool kSplatX, bool kSplatY, bool kSplatZ>
void run_ternary(float* dst, const float* a, const float* b, const float* c, std::size_t n) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const Operand<kSplatX> x(d, a);
  const Operand<kSplatY> y(d, b);
  const Operand<kSplatZ> z(d, c);
  std::size_t i = 0;
#pragma GCC unroll 4
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(Op::apply(d, x.load(d, i), y.load(d, i), z.load(d, i)), d, dst + i);
  }
  if (i == n) return;
  const std::size_t rest = n - i;
  store_tail(d, Op::apply(d, x.tail(d, i, rest), y.tail(d, i, rest), z.tail(d, i, rest)), dst + i,
             rest);
}

// std::pow by element: powers of tensors are rare (bias corrections, schedules), their accuracy
// matters.
template <bool kSplatX, bool kSplatY>
void run_pow(float* dst, const float* a, const float* b, const float*, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) dst[i] = std::pow(a[kSplatX ? 0 : i], b[kSplatY ? 0 : i]);
}

// --- the ops

#define MIXFLOW_UNARY(name, expression)                                         \
  struct name {                                                                 \
    static HWY_INLINE V apply([[maybe_unused]] D d, V x) { return expression; } \
  };
#define MIXFLOW_BINARY(name, expression)                                             \
  struct name {                                                                      \
    static HWY_INLINE V apply([[maybe_unused]] D d, V x, V y) { return expression; } \
  };
#define MIXFLOW_TERNARY(name, expression)                                                 \
  struct name {                                                                           \
    static HWY_INLINE V apply([[maybe_unused]] D d, V x, V y, V z) { return expression; } \
  };
HWY_INLINE V one(D d) { return hn::Set(d, 1.0f); }

MIXFLOW_UNARY(Copy, x)
MIXFLOW_UNARY(Negate, hn::Neg(x))
MIXFLOW_UNARY(ExpOp, tile_exp(d, x))
MIXFLOW_UNARY(LogOp, tile_log(d, x))
MIXFLOW_UNARY(SqrtOp, hn::Sqrt(x))
MIXFLOW_UNARY(RsqrtOp, hn::Div(one(d), hn::Sqrt(x)))
MIXFLOW_UNARY(ReciprocalOp, hn::Div(one(d), x))
MIXFLOW_UNARY(SquareOp, hn::Mul(x, x))
MIXFLOW_UNARY(TanhOp, tile_tanh(d, x))
MIXFLOW_UNARY(SigmoidOp, tile_sigmoid(d, x))
MIXFLOW_UNARY(SoftplusOp, tile_softplus(d, x))
MIXFLOW_UNARY(SinOp, tile_sin(d, x))
MIXFLOW_UNARY(CosOp, tile_cos(d, x))
MIXFLOW_UNARY(AbsOp, hn::Abs(x))
MIXFLOW_UNARY(SignOp, hn::Sub(hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), one(d)),
                              hn::IfThenElseZero(hn::Lt(x, hn::Zero(d)), one(d))))
MIXFLOW_UNARY(ReluOp, hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Zero(d), x))
MIXFLOW_UNARY(StepOp, hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), one(d)))
MIXFLOW_BINARY(AddOp, hn::Add(x, y))
MIXFLOW_BINARY(SubOp, hn::Sub(x, y))
MIXFLOW_BINARY(MulOp, hn::Mul(x, y))
MIXFLOW_BINARY(DivOp, hn::Div(x, y))
MIXFLOW_BINARY(MaxOp, hn::IfThenElse(hn::Lt(x, y), y, x))
MIXFLOW_BINARY(MinOp, hn::IfThenElse(hn::Lt(y, x), y, x))
MIXFLOW_BINARY(LessOp, hn::IfThenElseZero(hn::Lt(x, y), one(d)))
MIXFLOW_BINARY(EqualOp, hn::IfThenElseZero(hn::Eq(x, y), one(d)))
MIXFLOW_TERNARY(MulAddOp, hn::MulAdd(x, y, z))
MIXFLOW_TERNARY(MulSubOp, hn::MulSub(x, y, z))
MIXFLOW_TERNARY(SubMulOp, hn::NegMulAdd(x, y, z))
MIXFLOW_TERNARY(MulMulOp, hn::Mul(hn::Mul(x, y), z))
MIXFLOW_TERNARY(SumMulOp, hn::Mul(hn::Add(x, y), z))
MIXFLOW_TERNARY(DiffMulOp, hn::Mul(hn::Sub(x, y), z))
MIXFLOW_TERNARY(AddAddOp, hn::Add(hn::Add(x, y), z))
MIXFLOW_TERNARY(DiffAddOp, hn::Add(hn::Sub(x, y), z))

#undef MIXFLOW_TERNARY
#undef MIXFLOW_UNARY
#undef MIXFLOW_BINARY

template <class Op>
TileFn unary_fn(unsigned splats) {
  return splats == kSplatNone ? run_unary<Op> : nullptr;
}

template <class Op>
TileFn binary_fn(unsigned splats) {
  if (splats == kSplatNone) return run_binary<Op, false, false>;
  if (splats == kSplatA) return run_binary<Op, true, false>;
  return splats == kSplatB ? run_binary<Op, false, true> : nullptr;
}

template <class Op>
TileFn ternary_fn(unsigned splats) {
  static constexpr TileFn kFns[] = {
      run_ternary<Op, false, false, false>, run_ternary<Op, true, false, false>,
      run_ternary<Op, false, true, false>,  run_ternary<Op, true, true, false>,
      run_ternary<Op, false, false, true>,  run_ternary<Op, true, false, true>,
      run_ternary<Op, false, true, true>};
  return splats < std::size(kFns) ? kFns[splats] : nullptr;
}

TileFn pow_fn(unsigned splats) {
  if (splats == kSplatNone) return run_pow<false, false>;
  if (splats == kSplatA) return run_pow<true, false>;
  return splats == kSplatB ? run_pow<false, true> : nullptr;
}

TileFn select_fn(unsigned splats) {
  if (splats == kSplatNone) return run_select<false, false>;
  if (splats == kSplatB) return run_select<true, false>;
  if (splats == kSplatC) return run_select<false, true>;
  return splats == (kSplatB | kSplatC) ? run_select<true, true> : nullptr;
}

TileFn find_tile_fn(TileOp op, unsigned splats) {
  switch (op) {
    case TileOp::copy:
      return splats == kSplatA ? run_unary<Copy, true> : unary_fn<Copy>(splats);
    case TileOp::neg:
      return unary_fn<Negate>(splats);
    case TileOp::exp:
      return unary_fn<ExpOp>(splats);
    case TileOp::log:
      return unary_fn<LogOp>(splats);
    case TileOp::sqrt:
      return unary_fn<SqrtOp>(splats);
    case TileOp::rsqrt:
      return unary_fn<RsqrtOp>(splats);
    case TileOp::reciprocal:
      return unary_fn<ReciprocalOp>(splats);
    case TileOp::square:
      return unary_fn<SquareOp>(splats);
    case TileOp::tanh:
      return unary_fn<TanhOp>(splats);
    case TileOp::sigmoid:
      return unary_fn<SigmoidOp>(splats);
    case TileOp::softplus:
      return unary_fn<SoftplusOp>(splats);
    case TileOp::sin:
      return unary_fn<SinOp>(splats);
    case TileOp::cos:
      return unary_fn<CosOp>(splats);
    case TileOp::abs:
      return unary_fn<AbsOp>(splats);
    case TileOp::sign:
      return unary_fn<SignOp>(splats);
    case TileOp::relu:
      return unary_fn<ReluOp>(splats);
    case TileOp::step:
      return unary_fn<StepOp>(splats);
    case TileOp::add:
      return binary_fn<AddOp>(splats);
    case TileOp::sub:
      return binary_fn<SubOp>(splats);
    case TileOp::mul:
      return binary_fn<MulOp>(splats);
    case TileOp::div:
      return binary_fn<DivOp>(splats);
    case TileOp::max:
      return binary_fn<MaxOp>(splats);
    case TileOp::min:
      return binary_fn<MinOp>(splats);
    case TileOp::less:
      return binary_fn<LessOp>(splats);
    case TileOp::equal:
      return binary_fn<EqualOp>(splats);
    case TileOp::pow:
      return pow_fn(splats);
    case TileOp::select:
      return select_fn(splats);
    case TileOp::mul_add:
      return ternary_fn<MulAddOp>(splats);
    case TileOp::mul_sub:
      return ternary_fn<MulSubOp>(splats);
    case TileOp::sub_mul:
      return ternary_fn<SubMulOp>(splats);
    case TileOp::mul_mul:
      return ternary_fn<MulMulOp>(splats);
    case TileOp::sum_mul:
      return ternary_fn<SumMulOp>(splats);
    case TileOp::diff_mul:
      return ternary_fn<DiffMulOp>(splats);
    case TileOp::add_add:
      return ternary_fn<AddAddOp>(splats);
    case TileOp::diff_add:
      return ternary_fn<DiffAddOp>(splats);
    default:
      return nullptr;
  }
}

// --- rows

struct Sum {
  static constexpr float kStart = 0;
  static HWY_INLINE V vectors(V x, V y) { return hn::Add(x, y); }
  static HWY_INLINE float floats(float x, float y) { return x + y; }
  static HWY_INLINE float across(D d, V v) { return hn::GetLane(hn::SumOfLanes(d, v)); }
};

struct Max {
  static constexpr float kStart = -std::numeric_limits<float>::infinity();
  // A NaN stays: it is not below anything as x, and is taken as y.
  static HWY_INLINE V vectors(V x, V y) {
    return hn::IfThenElse(hn::Or(hn::Lt(x, y), hn::IsNaN(y)), y, x);
  }
  static HWY_INLINE float floats(float x, float y) { return x < y || std::isnan(y) ? y : x; }
  static HWY_INLINE float across(D d, V v) {
    if (!hn::AllFalse(d, hn::IsNaN(v))) return std::numeric_limits<float>::quiet_NaN();
    return hn::GetLane(hn::MaxOfLanes(d, v));
  }
};

// Four vector accumulators: the chains of additions are short, so errors stay small and latency is
// hidden.
template <class R>
HWY_INLINE float reduce(const float* src, std::size_t n) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const V start = hn::Set(d, R::kStart);
  V s0 = start, s1 = start, s2 = start, s3 = start;
  std::size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    s0 = R::vectors(s0, hn::LoadU(d, src + i));
    s1 = R::vectors(s1, hn::LoadU(d, src + i + lanes));
    s2 = R::vectors(s2, hn::LoadU(d, src + i + 2 * lanes));
    s3 = R::vectors(s3, hn::LoadU(d, src + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) s0 = R::vectors(s0, hn::LoadU(d, src + i));
  if (i < n) {
    const V tail = hn::IfThenElse(hn::FirstN(d, n - i), load_tail(d, src + i, n - i), start);
    s1 = R::vectors(s1, tail);
  }
  return R::across(d, R::vectors(R::vectors(s0, s1), R::vectors(s2, s3)));
}

// Rows are reduced in blocks, so that the longest chain of additions, and with it the error, does
// not grow as vectors get shorter.
constexpr std::size_t kReduceBlock = 512;

template <class R, bool kMore>
void reduce_rows(float* dst, const float* src, std::size_t rows, std::size_t cols) {
  for (std::size_t r = 0; r < rows; ++r) {
    float value = R::kStart;
    for (std::size_t c = 0; c < cols; c += kReduceBlock) {
      const std::size_t n = cols - c < kReduceBlock ? cols - c : kReduceBlock;
      value = R::floats(value, reduce<R>(src + r * cols + c, n));
    }
    dst[r] = kMore ? R::floats(dst[r], value) : value;
  }
}

// Column by column down the tile, which is in L1; the tile's rows are summed before dst is touched.
void column_sum(float* dst, const float* src, std::size_t rows, std::size_t cols) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t c = 0;
  for (; c + lanes <= cols; c += lanes) {
    V s0 = hn::Zero(d), s1 = hn::Zero(d);
    std::size_t r = 0;
    for (; r + 2 <= rows; r += 2) {
      s0 = hn::Add(s0, hn::LoadU(d, src + r * cols + c));
      s1 = hn::Add(s1, hn::LoadU(d, src + (r + 1) * cols + c));
    }
    if (r < rows) s0 = hn::Add(s0, hn::LoadU(d, src + r * cols + c));
    hn::StoreU(hn::Add(hn::LoadU(d, dst + c), hn::Add(s0, s1)), d, dst + c);
  }
  if (c == cols) return;
  const std::size_t rest = cols - c;
  V s0 = hn::Zero(d), s1 = hn::Zero(d);
  std::size_t r = 0;
  for (; r + 2 <= rows; r += 2) {
    s0 = hn::Add(s0, load_tail(d, src + r * cols + c, rest));
    s1 = hn::Add(s1, load_tail(d, src + (r + 1) * cols + c, rest));
  }
  if (r < rows) s0 = hn::Add(s0, load_tail(d, src + r * cols + c, rest));
  store_tail(d, hn::Add(load_tail(d, dst + c, rest), hn::Add(s0, s1)), dst + c, rest);
}

// Whole vectors are stored past a short row's end and then overwritten by the next row; only the
// last row is cut.
void expand(float* dst, const float* src, std::size_t rows, std::size_t cols) {
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t total = rows * cols;
  for (std::size_t r = 0; r < rows; ++r) {
    const V value = hn::Set(d, src[r]);
    std::size_t i = r * cols;
    const std::size_t end = i + cols;
    for (; i < end && i + lanes <= total; i += lanes) hn::StoreU(value, d, dst + i);
    if (i < end) store_tail(d, value, dst + i, end - i);
  }
}

void repeat(float* dst, const float* src, std::size_t rows, std::size_t cols) {
  for (std::size_t r = 0; r < rows; ++r)
    run_unary<Copy>(dst + r * cols, src, nullptr, nullptr, cols);
}

// The first row, by 32-bit vectors where its positions fit into them, then copies of it.
void iota(float* dst, std::int64_t first, std::size_t rows, std::size_t cols) {
  if (rows == 0) return;
  const D d;
  const hn::RebindToSigned<D> di;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t c = 0;
  if (first + static_cast<std::int64_t>(cols) <= std::numeric_limits<std::int32_t>::max()) {
    auto column = hn::Iota(di, static_cast<std::int32_t>(first));
    const auto step = hn::Set(di, static_cast<std::int32_t>(lanes));
    for (; c + lanes <= cols; c += lanes, column = hn::Add(column, step))
      hn::StoreU(hn::ConvertTo(d, column), d, dst + c);
  }
  for (; c < cols; ++c) dst[c] = static_cast<float>(first + static_cast<std::int64_t>(c));
  for (std::size_t r = 1; r < rows; ++r)
    run_unary<Copy>(dst + r * cols, dst, nullptr, nullptr, cols);
}

const RowFns& find_row_fns() {
  static constexpr RowFns kFns = {
      .sum = reduce_rows<Sum, false>,
      .sum_more = reduce_rows<Sum, true>,
      .max = reduce_rows<Max, false>,
      .max_more = reduce_rows<Max, true>,
      .column_sum = column_sum,
      .expand = expand,
      .repeat = repeat,
      .iota = iota,
  };
  return kFns;
}

bool uses_avx512() { return HWY_TARGET <= HWY_AVX3 && HWY_ARCH_X86; }

}  // namespace mixflow::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace mixflow {

HWY_EXPORT(find_tile_fn);
HWY_EXPORT(find_row_fns);
HWY_EXPORT(uses_avx512);

TileFn tile_fn(TileOp op, unsigned splats) {
  return HWY_DYNAMIC_DISPATCH(find_tile_fn)(op, splats);
}
const RowFns& row_fns() { return HWY_DYNAMIC_DISPATCH(find_row_fns)(); }
bool tile_fns_use_avx512() { return HWY_DYNAMIC_DISPATCH(uses_avx512)(); }

}  // namespace mixflow
#endif  // HWY_ONCE
