// Reductions: the reduced axes are removed from the shape.
#include <cmath>
#include <limits>

#include "ops/lower.h"
#include "ops/op_list.h"
#include "ops/rules.h"

namespace mixflow::op {
namespace {

template <rules::OpName kName>
Type infer_reduced(std::span<const Type> in, const Attrs& attrs) {
  rules::expect_inputs(kName.view(), in, 1);
  rules::expect_axes(kName.view(), in, attrs.axes, in[0].rank());
  Type out{in[0].dtype, {}};
  for (std::int64_t axis = 0; axis < in[0].rank(); ++axis) {
    if (!std::ranges::binary_search(attrs.axes, axis)) {
      out.shape.push_back(in[0].shape[static_cast<std::size_t>(axis)]);
    }
  }
  return out;
}

Id batch_reduced(Builder& b, const Call& call, std::span<const Id> in, const std::vector<bool>&,
                 std::int64_t) {
  Attrs attrs = call.attrs;
  attrs.axes = rules::shifted(std::move(attrs.axes));
  return b.emit(call.op, {in[0]}, std::move(attrs));
}

// All but the first of the elements that meet in one result take part in one operation.
Cost reduced_cost(std::span<const Type> in, const Type& out, const Attrs&) {
  return rules::traffic(in, out, in[0].elements() - out.elements());
}

// out[result index] = kFunction(out[result index], x), starting from `initial`, in row-major order
// of x.
template <auto kFunction>
void ref_reduced(const RefCall& call, double initial) {
  const Shape& shape = call.in_types[0].shape;
  const Shape kept = rules::strides_of(call.out_type.shape);
  Shape strides(shape.size(), 0);
  for (std::size_t axis = 0, next = 0; axis < shape.size(); ++axis) {
    const auto position = static_cast<std::int64_t>(axis);
    const bool reduced = std::ranges::binary_search(call.attrs.axes, position);
    if (!reduced) strides[axis] = kept[next++];
  }
  std::fill_n(call.out, call.out_type.elements(), initial);
  rules::for_each_strided(shape, strides, 0, [&](std::int64_t i, std::int64_t at) {
    call.out[at] = kFunction(call.out[at], call.in[0][i]);
  });
}

std::vector<Sample> reduced_samples() {
  std::vector<Sample> samples;
  const auto add = [&](Shape shape, Shape axes) {
    Sample sample{.in = {{DType::f32, std::move(shape)}}};
    sample.attrs.axes = std::move(axes);
    samples.push_back(std::move(sample));
  };
  add({1}, {0});
  add({7}, {0});
  add({1037}, {0});
  add({3, 5}, {0});
  add({3, 5}, {1});
  add({3, 5}, {0, 1});
  add({5, 601}, {1});
  add({601, 5}, {0});
  add({2, 3, 4}, {1});
  add({2, 3, 4}, {0, 2});
  add({2, 3, 4}, {1, 2});
  add({2, 3, 4}, {0, 1, 2});
  return samples;
}

}  // namespace

// sum{axes}   [..] -> the axes not in `axes`
constinit const OpDef k_sum = {
    .name = "sum",
    .infer = infer_reduced<"sum">,
    .deriv = Linear{[](Builder& b, const Call& call, int, Id y_bar) {
      return b.broadcast(y_bar, call.attrs.axes, b.shape(call.in[0]));
    }},
    .batch = batch_reduced,
    .ref =
        [](const RefCall& call) {
          ref_reduced<[](double sum, double x) { return sum + x; }>(call, 0);
        },
    .lower = lower_sum,
    .cost = reduced_cost,
    .tile = TileOp::sum,
    .samples = reduced_samples,
};

// max_reduce{axes}   [..] -> the axes not in `axes`. Not differentiated: it serves as a shift that
// cancels.
constinit const OpDef k_max_reduce = {
    .name = "max_reduce",
    .infer = infer_reduced<"max_reduce">,
    .deriv = NonDiff{},
    .batch = batch_reduced,
    .ref =
        [](const RefCall& call) {
          ref_reduced<[](double most, double x) { return most < x ? x : most; }>(
              call, -std::numeric_limits<double>::infinity());
        },
    .lower = lower_max_reduce,
    .cost = reduced_cost,
    .tile = TileOp::max_reduce,
    .samples = reduced_samples,
};

namespace {

// softmax(x) = exp(x - y): at most 1, so it cannot overflow, and nothing of the row's size is kept.
Id softmax(Builder& b, const Call& call) {
  const Id x = call.in[0];
  const Shape shape = b.shape(x);
  const auto last = static_cast<std::int64_t>(shape.size()) - 1;
  return b.exp(b.sub(x, b.broadcast(call.out, {last}, shape)));
}

}  // namespace

// logsumexp   y = log sum_j e^(x_j) over the last axis, which is removed    [.., n] -> [..]
// One op, because made of primitives its derivative would keep two arrays of x's size.
//   y_dot = sum_j e^(x_j - y) x_dot_j       x_bar = e^(x - y) y_bar
constinit const OpDef k_logsumexp = {
    .name = "logsumexp",
    .infer =
        [](std::span<const Type> in, const Attrs&) {
          rules::expect_inputs("logsumexp", in, 1);
          rules::expect_float("logsumexp", in);
          MIXFLOW_CHECK(in[0].rank() >= 1, rules::describe("logsumexp", "no last axis", in));
          return Type{in[0].dtype, Shape(in[0].shape.begin(), in[0].shape.end() - 1)};
        },
    .deriv = Explicit{.jvp =
                          [](Builder& b, const Call& call, std::span<const Id> tangents) {
                            const Id x_dot = tangents[0];
                            const std::int64_t last = b.type(x_dot).rank() - 1;
                            return b.sum(b.mul(softmax(b, call), x_dot), {last});
                          },
                      .vjp =
                          [](Builder& b, const Call& call, int, Id y_bar) {
                            const Id p = softmax(b, call);
                            const std::int64_t last = b.type(p).rank() - 1;
                            return b.mul(p, b.broadcast(y_bar, {last}, b.shape(p)));
                          }},
    .batch = rules::batch_leading,
    .ref =
        [](const RefCall& call) {
          const std::int64_t n = call.in_types[0].shape.back();
          for (std::int64_t row = 0; row < call.out_type.elements(); ++row) {
            const double* x = call.in[0] + row * n;
            const double most = *std::max_element(x, x + n);
            double sum = 0;
            for (std::int64_t j = 0; j < n; ++j) sum += std::exp(x[j] - most);
            // A row of infinities: the shifted terms would be NaN.
            call.out[row] = std::isinf(most) ? most : most + std::log(sum);
          }
        },
    .lower = lower_logsumexp,
    // Per row: n-1 maxima, n subtractions, n exponentials, n-1 additions, one logarithm and its
    // shift back.
    .cost = [](std::span<const Type> in, const Type& out,
               const Attrs&) { return rules::traffic(in, out, 4 * in[0].elements()); },
    .samples =
        [] {
          std::vector<Sample> samples;
          for (Shape shape : {Shape{1}, {7}, {3, 5}, {2, 3, 4}, {3, 1}, {5, 601}}) {
            samples.push_back({.in = {{DType::f32, std::move(shape)}}});
          }
          samples.push_back({.in = {{DType::f32, {3, 65}}}, .low = -100, .high = 100});
          return samples;
        },
};

}  // namespace mixflow::op
