// The derivative rules of every op, applied to a single op: against central differences, and
// against each other.
#include <doctest/doctest.h>

#include <cmath>

#include "ops/builder.h"
#include "ops/sample_inputs.h"
#include "util/error.h"

namespace mixflow {
namespace {

using testing::describe;
using testing::draw;
using testing::draw_inputs;
using testing::for_each_sample;
using testing::run_ref;

bool is_differentiable(const OpDef& op, const Sample& sample) {
  return !has_deriv<NonDiff>(op) && !has_deriv<Structural>(op) && is_float(sample.in[0].dtype) &&
         is_float(op.infer(sample.in, sample.attrs).dtype);
}

// J x_dot by the op's rule; x_dot[i] is kNone where operand i is constant.
Id push(Builder& b, const Call& call, const Ids& x_dot) {
  Id y_dot = kNone;
  const auto add = [&](Id term) { y_dot = y_dot == kNone ? term : b.add(y_dot, term); };
  if (const auto* elementwise = std::get_if<Elementwise>(&call.op.deriv)) {
    for (std::size_t i = 0; i < x_dot.size(); ++i) {
      if (x_dot[i] == kNone) continue;
      add(b.mul(elementwise->partial(b, call, static_cast<int>(i)), x_dot[i]));
    }
  } else if (has_deriv<Linear>(call.op)) {
    Ids in(call.in.begin(), call.in.end());  // what has no tangent is an index
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (is_float(b.dtype(in[i]))) in[i] = x_dot[i] == kNone ? b.zeros_like(in[i]) : x_dot[i];
    }
    add(b.emit(call.op, in, call.attrs));
  } else if (has_deriv<Bilinear>(call.op)) {
    if (x_dot[0] != kNone) add(b.emit(call.op, {x_dot[0], call.in[1]}, call.attrs));
    if (x_dot[1] != kNone) add(b.emit(call.op, {call.in[0], x_dot[1]}, call.attrs));
  } else {
    add(std::get<Explicit>(call.op.deriv).jvp(b, call, x_dot));
  }
  return y_dot;
}

// (J^T y_bar) for operand i.
Id pull(Builder& b, const Call& call, int i, Id y_bar) {
  if (const auto* elementwise = std::get_if<Elementwise>(&call.op.deriv)) {
    return b.mul(elementwise->partial(b, call, i), y_bar);
  }
  if (const auto* linear = std::get_if<Linear>(&call.op.deriv)) {
    return linear->transpose(b, call, i, y_bar);
  }
  if (const auto* bilinear = std::get_if<Bilinear>(&call.op.deriv)) {
    return bilinear->transpose(b, call, i, y_bar);
  }
  return std::get<Explicit>(call.op.deriv).vjp(b, call, i, y_bar);
}

// A graph of one op and its derivatives, and values for its inputs: operands, tangents of those
// that are active, y_bar.
struct Derivatives {
  std::vector<Tensor64> x, x_dot;
  Tensor64 y_bar;
  Tensor64 y, y_dot;
  std::vector<Tensor64> x_bar;  // of active operands

  Derivatives(const OpDef& op, const Sample& sample, const std::vector<bool>& active, Rng& rng)
      : x(draw_inputs(sample, rng)) {
    const Sample unit{.in = {}, .attrs = {}, .low = -1, .high = 1};
    Builder b;
    Ids in, tangents(sample.in.size(), kNone);
    for (const Type& type : sample.in) in.push_back(b.input(type));
    std::vector<Tensor64> inputs = x;
    for (std::size_t i = 0; i < in.size(); ++i) {
      x_dot.push_back(Tensor64(x[i].size(), 0));
      if (!active[i]) continue;
      tangents[i] = b.input(sample.in[i]);
      x_dot[i] = draw(sample.in[i], unit, rng);
      inputs.push_back(x_dot[i]);
    }
    const Id out = b.emit(op, in, sample.attrs);
    const Id cotangent = b.input(b.type(out));
    y_bar = draw(b.type(out), unit, rng);
    inputs.push_back(y_bar);
    const Call call{op, in, out, sample.attrs};
    Ids outputs{out, push(b, call, tangents)};
    CHECK(b.type(outputs[1]) == b.type(out));
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (!active[i]) continue;
      outputs.push_back(pull(b, call, static_cast<int>(i), cotangent));
      CHECK(b.type(outputs.back()) == sample.in[i]);
    }
    std::vector<Tensor64> results = evaluate(*b.finish(outputs), inputs);
    y = results[0];
    y_dot = results[1];
    std::size_t next = 2;
    for (std::size_t i = 0; i < in.size(); ++i) {
      x_bar.push_back(active[i] ? results[next++] : Tensor64(x[i].size(), 0));
    }
  }
};

// All float operands, and each on its own.
std::vector<std::vector<bool>> active_masks(const Sample& sample) {
  std::vector<bool> all;
  for (const Type& type : sample.in) all.push_back(is_float(type.dtype));
  std::vector<std::vector<bool>> masks{all};
  for (std::size_t i = 0; i < all.size() && all.size() > 1; ++i) {
    if (!all[i]) continue;
    masks.emplace_back(all.size(), false);
    masks.back()[i] = true;
  }
  return masks;
}

struct Inner {
  double value = 0;
  double scale = 0;  // sum of the terms' magnitudes

  void add(const Tensor64& a, const Tensor64& b) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      value += a[i] * b[i];
      scale += std::abs(a[i] * b[i]);
    }
  }
};

TEST_CASE("The forward rule of every differentiable op agrees with central differences") {
  int checked = 0;
  for_each_sample([&](const OpDef& op, const Sample& sample, Rng& rng) {
    // Whole numbers are where the piecewise ops have no derivative.
    if (sample.in.empty() || !is_differentiable(op, sample) || sample.whole) return;
    CAPTURE(describe(op, sample));
    for (const std::vector<bool>& active : active_masks(sample)) {
      const Derivatives d(op, sample, active, rng);
      CHECK(d.y == run_ref(op, sample, d.x));
      constexpr double kStep = 1e-5;
      const auto moved = [&](double step) {
        std::vector<Tensor64> x = d.x;
        for (std::size_t i = 0; i < x.size(); ++i) {
          for (std::size_t j = 0; j < x[i].size(); ++j) x[i][j] += step * d.x_dot[i][j];
        }
        return run_ref(op, sample, x);
      };
      const Tensor64 ahead = moved(kStep), behind = moved(-kStep);
      for (std::size_t j = 0; j < ahead.size(); ++j) {
        const double difference = (ahead[j] - behind[j]) / (2 * kStep);
        CHECK(std::abs(d.y_dot[j] - difference) <= 1e-7 * (1 + std::abs(difference)));
      }
      ++checked;
    }
  });
  CHECK(checked > 200);
}

TEST_CASE("<y_bar, J x_dot> = <J^T y_bar, x_dot> for every differentiable op") {
  for_each_sample([](const OpDef& op, const Sample& sample, Rng& rng) {
    if (sample.in.empty() || !is_differentiable(op, sample)) return;
    CAPTURE(describe(op, sample));
    for (const std::vector<bool>& active : active_masks(sample)) {
      const Derivatives d(op, sample, active, rng);
      Inner forward, backward;
      forward.add(d.y_bar, d.y_dot);
      for (std::size_t i = 0; i < d.x.size(); ++i) backward.add(d.x_bar[i], d.x_dot[i]);
      const double scale = 1 + forward.scale + backward.scale;
      CHECK(std::abs(forward.value - backward.value) <= 1e-12 * scale);
    }
  });
}

TEST_CASE("Conversion between floating types is differentiable, that of integers is not") {
  Sample sample{.in = {{DType::f32, {7}}}};
  sample.attrs.dtype = DType::f64;
  Rng rng(1, Purpose::check);
  const Derivatives d(op::k_convert, sample, {true}, rng);
  CHECK(d.y == d.x[0]);
  CHECK(d.y_dot == d.x_dot[0]);
  CHECK(d.x_bar[0] == d.y_bar);

  Builder b;
  const Ids in{b.input({DType::i32, {7}})};
  const Id y = b.convert(in[0], DType::f32);
  const Attrs attrs{.dtype = DType::f32};
  CHECK_THROWS_AS(pull(b, {op::k_convert, in, y, attrs}, 0, b.full_like(y, 1)), InternalError);
}

TEST_CASE("At a tie the first operand of max and min has the whole gradient") {
  for (const OpDef* op : {&op::k_max, &op::k_min}) {
    CAPTURE(op->name);
    Builder b;
    const Type type{DType::f32, {1}};
    const Ids in{b.input(type), b.input(type)};
    const Id y = b.emit(*op, in);
    const Call call{*op, in, y, {}};
    const Id one = b.full_like(y, 1);
    const Id first = pull(b, call, 0, one);
    const GraphPtr graph = b.finish({first, pull(b, call, 1, one)});
    CHECK(evaluate(*graph, {{2}, {2}}) == std::vector<Tensor64>{{1}, {0}});
  }
}

TEST_CASE("relu and abs have derivative 0 at 0") {
  for (const OpDef* op : {&op::k_relu, &op::k_abs}) {
    CAPTURE(op->name);
    Builder b;
    const Ids in{b.input({DType::f32, {3}})};
    const Id y = b.emit(*op, in);
    const Id x_bar = pull(b, {*op, in, y, {}}, 0, b.full_like(y, 1));
    const double below = op == &op::k_abs ? -1 : 0;
    CHECK(evaluate(*b.finish({x_bar}), {{-1, 0, 1}})[0] == Tensor64{below, 0, 1});
  }
}

}  // namespace
}  // namespace mixflow
