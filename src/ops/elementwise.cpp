// Elementwise ops: all operands have the result's type; broadcasting is the builder's matter. y is
// the result, x the operand; partials are written in y where that saves a recomputation or a
// cancellation. The fuse pass wraps every one of them in a fused kernel, so none but convert has a
// lowering of its own.
#include <cmath>

#include "ops/lower.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace mixflow::op {
namespace {

using rules::Domain;

using Partial = Id (*)(Builder&, const Call&, int);
using Samples = std::vector<Sample> (*)();

// The definition of y[i] = kFunction(x[i], ..); kDomain: whether integers are allowed too.
template <rules::OpName kName, int kArity, Domain kDomain, auto kFunction>
constexpr OpDef define(TileOp tile, Deriv deriv, Samples samples) {
  void (*ref)(const RefCall&) = nullptr;
  if constexpr (kArity == 1) {
    ref = rules::ref_unary<kFunction>;
  } else {
    ref = rules::ref_binary<kFunction>;
  }
  return {.name = kName.view(),
          .arity = kArity,
          .infer = rules::infer_same<kName, kArity, kDomain>,
          .deriv = deriv,
          .batch = rules::batch_leading,
          .ref = ref,
          .cost = rules::elementwise_cost,
          .may_overwrite = rules::first_inputs(kArity),
          .tile = tile,
          .samples = samples};
}

// Piecewise constant ops: nothing to differentiate, and a mask is cheaper made again than kept.
template <rules::OpName kName, int kArity, auto kFunction>
constexpr OpDef define_mask(TileOp tile, Samples samples) {
  OpDef def = define<kName, kArity, Domain::any, kFunction>(tile, NonDiff{}, samples);
  def.free = true;
  return def;
}

// --- samples -------------------------------------------------------------------------------------

template <int kArity>
std::vector<Sample> any_samples() {
  return rules::same_type_samples(kArity, -2, 2);
}

// For functions that must not overflow inside although their result is small.
std::vector<Sample> wide_samples() {
  std::vector<Sample> samples = rules::same_type_samples(1, -2, 2);
  samples.push_back({.in = {{DType::f32, {65}}}, .low = -100, .high = 100});
  return samples;
}

template <int kArity>
std::vector<Sample> positive_samples() {
  return rules::same_type_samples(kArity, 0.25, 4);
}

// Whole numbers too, so that zeros and ties occur, and integers.
template <int kArity>
std::vector<Sample> tie_samples() {
  std::vector<Sample> samples = any_samples<kArity>();
  const auto inputs = [](DType dtype) { return std::vector<Type>(kArity, Type{dtype, {5, 13}}); };
  samples.push_back({.in = inputs(DType::f32), .whole = true});
  samples.push_back({.in = inputs(DType::i32), .index_limit = 4});
  return samples;
}

}  // namespace

// --- one operand ---------------------------------------------------------------------------------

constinit const OpDef k_neg = define<"neg", 1, Domain::any, [](double x) { return -x; }>(
    TileOp::neg, Linear{[](Builder& b, const Call&, int, Id y_bar) { return b.neg(y_bar); }},
    tie_samples<1>);

constinit const OpDef k_exp =
    define<"exp", 1, Domain::floats, [](double x) { return std::exp(x); }>(
        TileOp::exp, Elementwise{[](Builder&, const Call& call, int) { return call.out; }},
        any_samples<1>);

constinit const OpDef k_log =
    define<"log", 1, Domain::floats, [](double x) { return std::log(x); }>(
        TileOp::log,
        Elementwise{[](Builder& b, const Call& call, int) { return b.reciprocal(call.in[0]); }},
        positive_samples<1>);

// dy/dx = 1/(2y), infinite at 0: callers keep the operand away from it.
constinit const OpDef k_sqrt =
    define<"sqrt", 1, Domain::floats, [](double x) { return std::sqrt(x); }>(
        TileOp::sqrt, Elementwise{[](Builder& b, const Call& call, int) {
          return b.mul(b.reciprocal(call.out), 0.5);
        }},
        positive_samples<1>);

// dy/dx = -y^3 / 2
constinit const OpDef k_rsqrt =
    define<"rsqrt", 1, Domain::floats, [](double x) { return 1 / std::sqrt(x); }>(
        TileOp::rsqrt, Elementwise{[](Builder& b, const Call& call, int) {
          return b.mul(b.mul(call.out, b.square(call.out)), -0.5);
        }},
        positive_samples<1>);

// dy/dx = -y^2
constinit const OpDef k_reciprocal =
    define<"reciprocal", 1, Domain::floats, [](double x) { return 1 / x; }>(
        TileOp::reciprocal,
        Elementwise{[](Builder& b, const Call& call, int) { return b.neg(b.square(call.out)); }},
        positive_samples<1>);

constinit const OpDef k_square = define<"square", 1, Domain::any, [](double x) { return x * x; }>(
    TileOp::square,
    Elementwise{[](Builder& b, const Call& call, int) { return b.mul(call.in[0], 2.0); }},
    tie_samples<1>);

// dy/dx = 1 - y^2: large |x| cannot overflow.
constinit const OpDef k_tanh =
    define<"tanh", 1, Domain::floats, [](double x) { return std::tanh(x); }>(
        TileOp::tanh, Elementwise{[](Builder& b, const Call& call, int) {
          return b.sub(1.0, b.square(call.out));
        }},
        wide_samples);

// y = 1/(1 + e^-x), from the exponential that cannot overflow; dy/dx = y (1 - y)
constinit const OpDef k_sigmoid =
    define<"sigmoid", 1, Domain::floats,
           [](double x) {
             const double e = std::exp(-std::abs(x));
             return (x < 0 ? e : 1) / (1 + e);
           }>(TileOp::sigmoid, Elementwise{[](Builder& b, const Call& call, int) {
                return b.mul(call.out, b.sub(1.0, call.out));
              }},
              wide_samples);

// y = log(1 + e^x) = max(x, 0) + log(1 + e^-|x|); dy/dx = sigmoid(x)
constinit const OpDef k_softplus =
    define<"softplus", 1, Domain::floats,
           [](double x) { return std::fmax(x, 0) + std::log1p(std::exp(-std::abs(x))); }>(
        TileOp::softplus,
        Elementwise{[](Builder& b, const Call& call, int) { return b.sigmoid(call.in[0]); }},
        wide_samples);

constinit const OpDef k_sin =
    define<"sin", 1, Domain::floats, [](double x) { return std::sin(x); }>(
        TileOp::sin,
        Elementwise{[](Builder& b, const Call& call, int) { return b.cos(call.in[0]); }},
        wide_samples);

constinit const OpDef k_cos =
    define<"cos", 1, Domain::floats, [](double x) { return std::cos(x); }>(
        TileOp::cos,
        Elementwise{[](Builder& b, const Call& call, int) { return b.neg(b.sin(call.in[0])); }},
        wide_samples);

// The subgradients at 0 are 0: sign(0) = 0 and step(0) = 0.
constinit const OpDef k_abs = define<"abs", 1, Domain::any, [](double x) { return std::abs(x); }>(
    TileOp::abs, Elementwise{[](Builder& b, const Call& call, int) { return b.sign(call.in[0]); }},
    tie_samples<1>);

constinit const OpDef k_sign =
    define_mask<"sign", 1, [](double x) { return static_cast<double>((x > 0) - (x < 0)); }>(
        TileOp::sign, tie_samples<1>);

constinit const OpDef k_relu =
    define<"relu", 1, Domain::any, [](double x) { return x < 0 ? 0 : x; }>(
        TileOp::relu,
        Elementwise{[](Builder& b, const Call& call, int) { return b.step(call.out); }},
        tie_samples<1>);

constinit const OpDef k_step = define_mask<"step", 1, [](double x) { return (x > 0) ? 1.0 : 0.0; }>(
    TileOp::step, tie_samples<1>);

// --- two operands --------------------------------------------------------------------------------

constinit const OpDef k_add =
    define<"add", 2, Domain::any, [](double a, double b) { return a + b; }>(
        TileOp::add,
        Elementwise{[](Builder& b, const Call& call, int) { return b.full_like(call.out, 1); }},
        tie_samples<2>);

constinit const OpDef k_sub =
    define<"sub", 2, Domain::any, [](double a, double b) { return a - b; }>(
        TileOp::sub, Elementwise{[](Builder& b, const Call& call, int i) {
          return b.full_like(call.out, i == 0 ? 1 : -1);
        }},
        tie_samples<2>);

constinit const OpDef k_mul =
    define<"mul", 2, Domain::any, [](double a, double b) { return a * b; }>(
        TileOp::mul,
        Elementwise{[](Builder&, const Call& call, int i) { return call.in[i == 0 ? 1 : 0]; }},
        tie_samples<2>);

// dy/da = 1/b, dy/db = -y/b
constinit const OpDef k_div =
    define<"div", 2, Domain::floats, [](double a, double b) { return a / b; }>(
        TileOp::div, Elementwise{[](Builder& b, const Call& call, int i) {
          if (i == 0) return b.reciprocal(call.in[1]);
          return b.neg(b.div(call.out, call.in[1]));
        }},
        positive_samples<2>);

// Where a = b, the first operand has the whole gradient, so that the partials always sum to 1.
constinit const OpDef k_max =
    define<"max", 2, Domain::any, [](double a, double b) { return a < b ? b : a; }>(
        TileOp::max, Elementwise{[](Builder& b, const Call& call, int i) {
          const Id second = b.less(call.in[0], call.in[1]);
          return i == 0 ? b.sub(1.0, second) : second;
        }},
        tie_samples<2>);

constinit const OpDef k_min =
    define<"min", 2, Domain::any, [](double a, double b) { return b < a ? b : a; }>(
        TileOp::min, Elementwise{[](Builder& b, const Call& call, int i) {
          const Id second = b.less(call.in[1], call.in[0]);
          return i == 0 ? b.sub(1.0, second) : second;
        }},
        tie_samples<2>);

// y = a^b for a > 0: dy/da = b a^(b-1), dy/db = y log(a)
constinit const OpDef k_pow =
    define<"pow", 2, Domain::floats, [](double a, double b) { return std::pow(a, b); }>(
        TileOp::pow, Elementwise{[](Builder& b, const Call& call, int i) {
          const Id base = call.in[0];
          const Id exponent = call.in[1];
          if (i == 0) return b.mul(exponent, b.pow(base, b.add(exponent, -1.0)));
          return b.mul(call.out, b.log(base));
        }},
        positive_samples<2>);

constinit const OpDef k_less =
    define_mask<"less", 2, [](double a, double b) { return a < b ? 1.0 : 0.0; }>(TileOp::less,
                                                                                 tie_samples<2>);

constinit const OpDef k_equal =
    define_mask<"equal", 2, [](double a, double b) { return a == b ? 1.0 : 0.0; }>(TileOp::equal,
                                                                                   tie_samples<2>);

// --- select --------------------------------------------------------------------------------------

// select   y = a where mask != 0, else b    (mask, a, b), all of one type
// The mask's own partial is 0, like that of every piecewise constant function.
constinit const OpDef k_select = {
    .name = "select",
    .arity = 3,
    .infer = rules::infer_same<"select", 3, Domain::any>,
    .deriv = Elementwise{[](Builder& b, const Call& call, int i) {
      if (i == 0) return b.zeros_like(call.out);
      const Id one = b.full_like(call.out, 1);
      const Id zero = b.zeros_like(call.out);
      return i == 1 ? b.select(call.in[0], one, zero) : b.select(call.in[0], zero, one);
    }},
    .batch = rules::batch_leading,
    .ref =
        [](const RefCall& call) {
          const std::int64_t n = call.out_type.elements();
          for (std::int64_t i = 0; i < n; ++i) call.out[i] = call.in[call.in[0][i] != 0 ? 1 : 2][i];
        },
    .cost = rules::elementwise_cost,
    .may_overwrite = rules::first_inputs(3),
    .tile = TileOp::select,
    .samples = tie_samples<3>,
};

// --- the identity, with a meaning for transforms -------------------------------------------------

// stop_gradient   y = x, a constant for every derivative
constinit const OpDef k_stop_gradient = {
    .name = "stop_gradient",
    .infer = rules::infer_same<"stop_gradient", 1, Domain::any>,
    .deriv = NonDiff{},
    .batch = rules::batch_leading,
    .ref = rules::ref_copy,
    .cost = rules::view_cost,
    .may_overwrite = rules::first_inputs(1),
    .view = true,
    .free = true,
    .tile = TileOp::copy,
    .samples = tie_samples<1>,
};

// named{name}   y = x, under a name that policies can keep. Its tangent has the same name, its
// cotangent none. Not free: it marks a value that is worth keeping.
constinit const OpDef k_named = {
    .name = "named",
    .infer = rules::infer_same<"named", 1, Domain::any>,
    .deriv = Linear{[](Builder&, const Call&, int, Id y_bar) { return y_bar; }},
    .batch = rules::batch_leading,
    .ref = rules::ref_copy,
    .cost = rules::view_cost,
    .may_overwrite = rules::first_inputs(1),
    .view = true,
    .tile = TileOp::copy,
    .samples = tie_samples<1>,
};

// named_cotangent{name}   y = x, whose cotangent is `named` so: a value of a gradient that policies
// can keep.
constinit const OpDef k_named_cotangent = {
    .name = "named_cotangent",
    .infer = rules::infer_same<"named_cotangent", 1, Domain::any>,
    .deriv = Linear{[](Builder& b, const Call& call, int, Id y_bar) {
      return b.named(y_bar, call.attrs.name);
    }},
    .batch = rules::batch_leading,
    .ref = rules::ref_copy,
    .cost = rules::view_cost,
    .may_overwrite = rules::first_inputs(1),
    .view = true,
    .free = true,
    .tile = TileOp::copy,
    .samples = tie_samples<1>,
};

// convert{dtype}   y = x in another type; towards integers by truncation. Differentiable between
// floating types only.
constinit const OpDef k_convert = {
    .name = "convert",
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("convert", in, 1);
          return Type{attrs.dtype, in[0].shape};
        },
    .deriv = Linear{[](Builder& b, const Call& call, int, Id y_bar) {
      const DType dtype = b.dtype(call.in[0]);
      MIXFLOW_CHECK(is_float(dtype) && is_float(b.dtype(y_bar)),
                    "[convert] integers have no cotangent");
      return b.convert(y_bar, dtype);
    }},
    .batch = rules::batch_leading,
    .ref =
        [](const RefCall& call) {
          const bool whole = !is_float(call.out_type.dtype);
          const std::int64_t n = call.out_type.elements();
          for (std::int64_t i = 0; i < n; ++i) {
            call.out[i] = whole ? std::trunc(call.in[0][i]) : call.in[0][i];
          }
        },
    .lower = lower_convert,
    .cost = rules::copy_cost,
    .free = true,
    .samples =
        [] {
          std::vector<Sample> samples;
          for (const Shape& shape : rules::sample_shapes()) {
            samples.push_back({.in = {{DType::i32, shape}}, .index_limit = 100});
            samples.back().attrs.dtype = DType::f32;
            samples.push_back({.in = {{DType::f32, shape}}, .low = -100, .high = 100});
            samples.back().attrs.dtype = DType::i32;
          }
          return samples;
        },
};

}  // namespace mixflow::op
