// Constants made from attributes, and ops that only move elements: all linear. The reference of
// each is one strided walk.
#include <cmath>

#include "ops/lower.h"
#include "ops/op_list.h"
#include "ops/rules.h"
#include "util/index.h"

namespace mixflow::op {
namespace {

using rules::ref_strided_read;
using rules::sample_of;

void expect_sizes(std::string_view op, const Shape& shape) {
  for (const std::int64_t size : shape) {
    MIXFLOW_CHECK(size >= 0, "[" + std::string(op) + "] negative size in " + to_string(shape));
  }
}

}  // namespace

// full{value, dtype, shape}   every element is `value`; never a buffer
constinit const OpDef k_full = {
    .name = "full",
    .arity = 0,
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("full", in, 0);
          expect_sizes("full", attrs.shape);
          MIXFLOW_CHECK(is_float(attrs.dtype) || attrs.value == std::trunc(attrs.value),
                        "[full] " + std::to_string(attrs.value) + " is no integer");
          return Type{attrs.dtype, attrs.shape};
        },
    .deriv = NonDiff{},
    .ref =
        [](const RefCall& call) {
          std::fill_n(call.out, call.out_type.elements(), call.attrs.value);
        },
    .lower = lower_full,
    .cost = [](std::span<const Type> in, const Type& out,
               const Attrs&) { return rules::traffic(in, out, 0); },
    .free = true,
    .tile = TileOp::full,
    .samples =
        [] {
          std::vector<Sample> samples;
          for (const Shape& shape : rules::sample_shapes()) {
            samples.emplace_back();
            samples.back().attrs = {.shape = shape, .value = -1.5};
          }
          samples.emplace_back();
          samples.back().attrs = {.shape = {3, 5}, .value = 4, .dtype = DType::i32};
          return samples;
        },
};

// iota{dtype, shape, axes = {axis}}   each element is its position along `axis`
constinit const OpDef k_iota = {
    .name = "iota",
    .arity = 0,
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("iota", in, 0);
          expect_sizes("iota", attrs.shape);
          MIXFLOW_CHECK(attrs.axes.size() == 1, "[iota] needs one axis");
          rules::expect_axes("iota", in, attrs.axes, static_cast<int>(attrs.shape.size()));
          return Type{attrs.dtype, attrs.shape};
        },
    .deriv = NonDiff{},
    .ref =
        [](const RefCall& call) {
          const Shape& shape = call.out_type.shape;
          const std::int64_t size = shape[index(call.attrs.axes[0])];
          const std::int64_t stride = rules::strides_of(shape)[index(call.attrs.axes[0])];
          for (std::int64_t i = 0; i < num_elements(shape); ++i) {
            call.out[i] = static_cast<double>(i / stride % size);
          }
        },
    .lower = lower_iota,
    .cost = [](std::span<const Type> in, const Type& out,
               const Attrs&) { return rules::traffic(in, out, 0); },
    .free = true,
    .tile = TileOp::iota,
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto add = [&](DType dtype, Shape shape, std::int64_t axis) {
            samples.emplace_back();
            samples.back().attrs = {.shape = std::move(shape), .axes = {axis}, .dtype = dtype};
          };
          for (const DType dtype : {DType::f32, DType::i32}) {
            add(dtype, {1}, 0);
            add(dtype, {1037}, 0);
            add(dtype, {3, 5}, 0);
            add(dtype, {3, 5}, 1);
            add(dtype, {2, 3, 4}, 1);
          }
          return samples;
        },
};

// reshape{shape}   the same elements in the same order
constinit const OpDef k_reshape = {
    .name = "reshape",
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("reshape", in, 1);
          expect_sizes("reshape", attrs.shape);
          MIXFLOW_CHECK(
              num_elements(attrs.shape) == in[0].elements(),
              rules::describe("reshape", "no " + to_string(attrs.shape) + " can be made", in));
          return Type{in[0].dtype, attrs.shape};
        },
    .deriv = Linear{[](Builder& b, const Call& call, int, Id y_bar) {
      return b.reshape(y_bar, b.shape(call.in[0]));
    }},
    .batch = [](Builder& b, const Call& call, std::span<const Id> in, const std::vector<bool>&,
                std::int64_t n) { return b.reshape(in[0], rules::prepend(n, call.attrs.shape)); },
    .ref = rules::ref_copy,
    .cost = rules::view_cost,
    .may_overwrite = rules::first_inputs(1),
    .view = true,
    .free = true,
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto add = [&](Shape from, Shape to) {
            samples.push_back(sample_of(std::move(from), [&](Attrs& a) { a.shape = to; }));
          };
          add({}, {1, 1});
          add({1}, {});
          add({7}, {7, 1});
          add({3, 5}, {15});
          add({2, 3, 4}, {4, 6});
          return samples;
        },
};

// transpose{axes = permutation}   result axis i is axis permutation[i] of x
constinit const OpDef k_transpose = {
    .name = "transpose",
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("transpose", in, 1);
          Shape axes = attrs.axes;
          std::ranges::sort(axes);
          rules::expect_axes("transpose", in, axes, in[0].rank());
          MIXFLOW_CHECK(std::ssize(axes) == in[0].rank(),
                        rules::describe("transpose", "no permutation " + to_string(axes), in));
          Type out{in[0].dtype, {}};
          for (const std::int64_t axis : attrs.axes) out.shape.push_back(in[0].shape[index(axis)]);
          return out;
        },
    .deriv = Linear{[](Builder& b, const Call& call, int, Id y_bar) {
      Shape inverse(call.attrs.axes.size());
      for (std::size_t i = 0; i < inverse.size(); ++i) {
        inverse[index(call.attrs.axes[i])] = static_cast<std::int64_t>(i);
      }
      return b.transpose(y_bar, std::move(inverse));
    }},
    .batch =
        [](Builder& b, const Call& call, std::span<const Id> in, const std::vector<bool>&,
           std::int64_t) {
          return b.transpose(in[0], rules::prepend(0, rules::shifted(call.attrs.axes)));
        },
    .ref =
        [](const RefCall& call) {
          const Shape from = rules::strides_of(call.in_types[0].shape);
          Shape strides;
          for (const std::int64_t axis : call.attrs.axes) strides.push_back(from[index(axis)]);
          ref_strided_read(call, strides, 0);
        },
    .lower = lower_transpose,
    .cost = rules::copy_cost,
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto add = [&](Shape shape, Shape axes) {
            samples.push_back(sample_of(std::move(shape), [&](Attrs& a) { a.axes = axes; }));
          };
          add({7}, {0});
          add({1, 1}, {1, 0});
          add({3, 5}, {1, 0});
          add({67, 41}, {1, 0});
          add({2, 3, 4}, {0, 2, 1});
          add({2, 3, 4}, {1, 0, 2});
          add({2, 3, 4}, {2, 0, 1});
          add({2, 3, 5, 4}, {0, 2, 1, 3});
          return samples;
        },
};

// broadcast{axes, shape}   repeats x along new axes: `shape` without `axes` is x's shape
constinit const OpDef k_broadcast = {
    .name = "broadcast",
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("broadcast", in, 1);
          expect_sizes("broadcast", attrs.shape);
          rules::expect_axes("broadcast", in, attrs.axes, static_cast<int>(attrs.shape.size()));
          Shape kept;
          for (std::size_t axis = 0; axis < attrs.shape.size(); ++axis) {
            const auto position = static_cast<std::int64_t>(axis);
            if (!std::ranges::binary_search(attrs.axes, position))
              kept.push_back(attrs.shape[axis]);
          }
          MIXFLOW_CHECK(kept == in[0].shape,
                        rules::describe("broadcast",
                                        to_string(attrs.shape) + " without its new axes " +
                                            to_string(attrs.axes) + " is not the operand's shape",
                                        in));
          return Type{in[0].dtype, attrs.shape};
        },
    .deriv = Linear{[](Builder& b, const Call& call, int, Id y_bar) {
      return b.sum(y_bar, call.attrs.axes);
    }},
    .batch =
        [](Builder& b, const Call& call, std::span<const Id> in, const std::vector<bool>&,
           std::int64_t n) {
          return b.broadcast(in[0], rules::shifted(call.attrs.axes),
                             rules::prepend(n, call.attrs.shape));
        },
    .ref =
        [](const RefCall& call) {
          Shape strides = rules::strides_of(call.in_types[0].shape);
          for (const std::int64_t axis : call.attrs.axes) strides.insert(strides.begin() + axis, 0);
          ref_strided_read(call, strides, 0);
        },
    .lower = lower_broadcast,
    .cost = [](std::span<const Type> in, const Type& out,
               const Attrs&) { return rules::traffic(in, out, 0); },
    .free = true,
    .tile = TileOp::broadcast,
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto add = [&](Shape from, Shape axes, Shape shape) {
            samples.push_back(sample_of(std::move(from), [&](Attrs& a) {
              a.axes = axes;
              a.shape = shape;
            }));
          };
          add({}, {0}, {1});
          add({}, {0, 1}, {3, 5});
          add({}, {0}, {1037});
          add({7}, {0}, {3, 7});
          add({7}, {1}, {7, 3});
          add({601}, {0}, {5, 601});
          add({5}, {1}, {5, 601});
          add({3, 5}, {1}, {3, 2, 5});
          add({2, 4}, {0, 2}, {3, 2, 5, 4});
          return samples;
        },
};

}  // namespace mixflow::op
