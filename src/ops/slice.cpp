// Ops that cut tensors apart and put them together: all linear, slice and pad being each other's
// transpose.
#include <numeric>

#include "ops/lower.h"
#include "ops/op_list.h"
#include "ops/rules.h"
#include "util/index.h"

namespace mixflow::op {
namespace {

using rules::ref_strided_read;
using rules::sample_of;

std::int64_t dot_of(const Shape& a, const Shape& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), std::int64_t{0});
}

}  // namespace

// slice{starts, axes = limits}   the elements from `starts` up to, not including, `limits`
constinit const OpDef k_slice = {
    .name = "slice",
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("slice", in, 1);
          const Shape& shape = in[0].shape;
          const Shape& limits = attrs.axes;
          bool fits = attrs.starts.size() == shape.size() && limits.size() == shape.size();
          Type out{in[0].dtype, {}};
          for (std::size_t axis = 0; fits && axis < shape.size(); ++axis) {
            fits = 0 <= attrs.starts[axis] && attrs.starts[axis] < limits[axis] &&
                   limits[axis] <= shape[axis];
            out.shape.push_back(limits[axis] - attrs.starts[axis]);
          }
          MIXFLOW_CHECK(fits, rules::describe("slice",
                                              to_string(attrs.starts) + " to " + to_string(limits) +
                                                  " is empty or not inside",
                                              in));
          return out;
        },
    .deriv = Linear{[](Builder& b, const Call& call, int, Id y_bar) {
      return b.pad(y_bar, call.attrs.starts, b.shape(call.in[0]));
    }},
    .batch =
        [](Builder& b, const Call& call, std::span<const Id> in, const std::vector<bool>&,
           std::int64_t n) {
          return b.slice(in[0], rules::prepend(0, call.attrs.starts),
                         rules::prepend(n, call.attrs.axes));
        },
    .ref =
        [](const RefCall& call) {
          const Shape strides = rules::strides_of(call.in_types[0].shape);
          ref_strided_read(call, strides, dot_of(strides, call.attrs.starts));
        },
    .lower = lower_slice,
    .cost = rules::copy_cost,
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto add = [&](Shape shape, Shape starts, Shape limits) {
            samples.push_back(sample_of(std::move(shape), [&](Attrs& a) {
              a.starts = starts;
              a.axes = limits;
            }));
          };
          add({7}, {0}, {1});
          add({7}, {2}, {6});
          add({3, 5}, {0, 1}, {3, 4});
          add({3, 5}, {1, 0}, {2, 5});
          add({2, 3, 4}, {1, 1, 2}, {2, 3, 4});
          return samples;
        },
};

// pad{starts, shape}   zeros of `shape` with x placed at `starts`: the transpose of slice
constinit const OpDef k_pad = {
    .name = "pad",
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("pad", in, 1);
          const Shape& shape = in[0].shape;
          bool fits = attrs.starts.size() == shape.size() && attrs.shape.size() == shape.size();
          for (std::size_t axis = 0; fits && axis < shape.size(); ++axis) {
            fits = attrs.starts[axis] >= 0 && attrs.starts[axis] + shape[axis] <= attrs.shape[axis];
          }
          MIXFLOW_CHECK(fits, rules::describe("pad",
                                              "does not fit into " + to_string(attrs.shape) +
                                                  " at " + to_string(attrs.starts),
                                              in));
          return Type{in[0].dtype, attrs.shape};
        },
    .deriv = Linear{[](Builder& b, const Call& call, int, Id y_bar) {
      Shape limits = b.shape(call.in[0]);
      for (std::size_t axis = 0; axis < limits.size(); ++axis) {
        limits[axis] += call.attrs.starts[axis];
      }
      return b.slice(y_bar, call.attrs.starts, std::move(limits));
    }},
    .batch =
        [](Builder& b, const Call& call, std::span<const Id> in, const std::vector<bool>&,
           std::int64_t n) {
          return b.pad(in[0], rules::prepend(0, call.attrs.starts),
                       rules::prepend(n, call.attrs.shape));
        },
    .ref =
        [](const RefCall& call) {
          const Shape strides = rules::strides_of(call.out_type.shape);
          std::fill_n(call.out, call.out_type.elements(), 0.0);
          rules::for_each_strided(
              call.in_types[0].shape, strides, dot_of(strides, call.attrs.starts),
              [&](std::int64_t i, std::int64_t at) { call.out[at] = call.in[0][i]; });
        },
    .lower = lower_pad,
    .cost = [](std::span<const Type> in, const Type& out,
               const Attrs&) { return rules::traffic(in, out, 0); },
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto add = [&](Shape from, Shape starts, Shape shape) {
            samples.push_back(sample_of(std::move(from), [&](Attrs& a) {
              a.starts = starts;
              a.shape = shape;
            }));
          };
          add({1}, {0}, {2});
          add({7}, {2}, {11});
          add({3, 5}, {0, 1}, {3, 7});
          add({3, 5}, {1, 0}, {6, 5});
          add({2, 3, 4}, {1, 0, 2}, {3, 4, 7});
          return samples;
        },
};

// concat{axes = {axis}}   the operands one after the other along `axis`
constinit const OpDef k_concat = {
    .name = "concat",
    .arity = -1,
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          MIXFLOW_CHECK(!in.empty() && attrs.axes.size() == 1,
                        "[concat] needs operands and an axis");
          rules::expect_axes("concat", in, attrs.axes, in[0].rank());
          const std::size_t axis = index(attrs.axes[0]);
          Type out = in[0];
          for (const Type& type : in.subspan(1)) {
            Type like_first = type;
            const bool same_rank = type.rank() == in[0].rank();
            if (same_rank) like_first.shape[axis] = in[0].shape[axis];
            MIXFLOW_CHECK(like_first == in[0],
                          rules::describe("concat", "operands do not fit", in));
            out.shape[axis] += type.shape[axis];
          }
          return out;
        },
    .deriv = Linear{[](Builder& b, const Call& call, int i, Id y_bar) {
      const std::size_t axis = index(call.attrs.axes[0]);
      Shape starts(b.shape(y_bar).size(), 0);
      for (std::size_t before = 0; before < static_cast<std::size_t>(i); ++before) {
        starts[axis] += b.shape(call.in[before])[axis];
      }
      Shape limits = b.shape(call.in[static_cast<std::size_t>(i)]);
      limits[axis] += starts[axis];
      return b.slice(y_bar, std::move(starts), std::move(limits));
    }},
    .batch =
        [](Builder& b, const Call& call, std::span<const Id> in, const std::vector<bool>& batched,
           std::int64_t n) {
          const int axis = static_cast<int>(call.attrs.axes[0]) + 1;
          return b.concat(rules::with_leading(b, in, batched, n), axis);
        },
    .ref =
        [](const RefCall& call) {
          const std::size_t axis = index(call.attrs.axes[0]);
          // The operands' blocks of one outer index follow each other.
          const auto block_of = [axis](const Shape& shape) {
            return num_elements(
                Shape(shape.begin() + static_cast<std::ptrdiff_t>(axis), shape.end()));
          };
          const std::int64_t out_block = block_of(call.out_type.shape);
          const std::int64_t outer = out_block == 0 ? 0 : call.out_type.elements() / out_block;
          std::int64_t start = 0;
          for (std::size_t i = 0; i < call.in.size(); ++i) {
            const std::int64_t block = block_of(call.in_types[i].shape);
            for (std::int64_t o = 0; o < outer; ++o) {
              std::copy_n(call.in[i] + o * block, block, call.out + o * out_block + start);
            }
            start += block;
          }
        },
    .lower = lower_concat,
    .cost = [](std::span<const Type> in, const Type& out,
               const Attrs&) { return rules::traffic(in, out, 0); },
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto add = [&](std::vector<Shape> shapes, std::int64_t axis) {
            samples.emplace_back();
            for (Shape& shape : shapes) samples.back().in.push_back({DType::f32, std::move(shape)});
            samples.back().attrs.axes = {axis};
          };
          add({{7}}, 0);
          add({{1}, {7}}, 0);
          add({{3, 5}, {2, 5}, {1, 5}}, 0);
          add({{3, 5}, {3, 1}}, 1);
          add({{2, 3, 4}, {2, 2, 4}}, 1);
          return samples;
        },
};

// reverse{axes}   the order of the elements along each of `axes` is flipped
constinit const OpDef k_reverse = {
    .name = "reverse",
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("reverse", in, 1);
          rules::expect_axes("reverse", in, attrs.axes, in[0].rank());
          return in[0];
        },
    .deriv = Linear{[](Builder& b, const Call& call, int, Id y_bar) {
      return b.reverse(y_bar, call.attrs.axes);
    }},
    .batch = [](Builder& b, const Call& call, std::span<const Id> in, const std::vector<bool>&,
                std::int64_t) { return b.reverse(in[0], rules::shifted(call.attrs.axes)); },
    .ref =
        [](const RefCall& call) {
          const Shape& shape = call.out_type.shape;
          Shape strides = rules::strides_of(shape);
          std::int64_t start = 0;
          for (const std::int64_t axis : call.attrs.axes) {
            start += (shape[index(axis)] - 1) * strides[index(axis)];
            strides[index(axis)] *= -1;
          }
          ref_strided_read(call, strides, start);
        },
    .lower = lower_reverse,
    .cost = rules::copy_cost,
    .free = true,
    .tile = TileOp::reverse,
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto add = [&](Shape shape, Shape axes) {
            samples.push_back(sample_of(std::move(shape), [&](Attrs& a) { a.axes = axes; }));
          };
          add({1}, {0});
          add({7}, {0});
          add({3, 5}, {0});
          add({3, 5}, {1});
          add({2, 3, 4}, {0, 2});
          return samples;
        },
};

}  // namespace mixflow::op
