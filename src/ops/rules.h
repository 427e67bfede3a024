// Rules that many op definitions share: checks and shape rules, batching, costs, reference loops,
// samples. Messages of the checks begin with "[op]" and state the types that do not fit.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "graph/op.h"
#include "ops/builder.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow::rules {

// A string as a template argument, so that a shared shape rule knows which op it speaks for.
template <std::size_t kSize>
struct OpName {
  char text[kSize];
  consteval OpName(const char (&from)[kSize]) { std::copy_n(from, kSize, text); }
  constexpr std::string_view view() const { return {text, kSize - 1}; }
};

// --- checks and shape rules ----------------------------------------------------------------------
std::string describe(std::string_view op, std::string_view problem, std::span<const Type> in);
void expect_inputs(std::string_view op, std::span<const Type> in, std::size_t count);
void expect_float(std::string_view op, std::span<const Type> in);
// Axes are ascending, without repetition, and inside [0, rank).
void expect_axes(std::string_view op, std::span<const Type> in, const Shape& axes, int rank);

enum class Domain { any, floats };

// All inputs have one type, which is the result's.
Type infer_same(std::string_view op, std::span<const Type> in, std::size_t count, Domain domain);

template <OpName kOp, std::size_t kCount, Domain kDomain>
Type infer_same(std::span<const Type> in, const Attrs&) {
  return infer_same(kOp.view(), in, kCount, kDomain);
}

// --- batching ------------------------------------------------------------------------------------

// x with a leading axis n: itself if it has one, else broadcast.
Id with_leading(Builder& b, Id x, bool batched, std::int64_t n);
Ids with_leading(Builder& b, std::span<const Id> xs, const std::vector<bool>& batched,
                 std::int64_t n);
Shape prepend(std::int64_t first, const Shape& rest);
Shape shifted(Shape axes);  // every axis moved by one, behind a new leading axis

// Ops that treat every leading axis alike, and whose attributes name no axis.
Id batch_leading(Builder& b, const Call& call, std::span<const Id> in,
                 const std::vector<bool>& batched, std::int64_t n);

// --- costs ---------------------------------------------------------------------------------------

// Every input is read once and the result written once.
Cost traffic(std::span<const Type> in, const Type& out, std::int64_t flop);
// One flop per element of the result, whatever the function.
Cost elementwise_cost(std::span<const Type> in, const Type& out, const Attrs&);
// As many elements of input 0 are read as are written: copies that reorder or choose.
Cost copy_cost(std::span<const Type> in, const Type& out, const Attrs&);
Cost view_cost(std::span<const Type> in, const Type& out, const Attrs&);

// --- reference loops -----------------------------------------------------------------------------
Shape strides_of(const Shape& shape);  // dense, row-major

// Calls visit(i, at) for every index of `shape` in row-major order: i counts up from 0, `at` is
// `start` plus the sum of index times stride.
template <class Visit>
void for_each_strided(const Shape& shape, const Shape& strides, std::int64_t start, Visit visit) {
  const std::int64_t total = num_elements(shape);
  const std::size_t rank = shape.size();
  Shape index(rank, 0);
  std::int64_t at = start;
  for (std::int64_t i = 0; i < total; ++i) {
    visit(i, at);
    for (std::size_t axis = rank; axis-- > 0;) {
      at += strides[axis];
      if (++index[axis] < shape[axis]) break;
      at -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

template <auto kFunction>
void ref_unary(const RefCall& call) {
  const std::int64_t n = call.out_type.elements();
  for (std::int64_t i = 0; i < n; ++i) call.out[i] = kFunction(call.in[0][i]);
}

template <auto kFunction>
void ref_binary(const RefCall& call) {
  const std::int64_t n = call.out_type.elements();
  for (std::int64_t i = 0; i < n; ++i) call.out[i] = kFunction(call.in[0][i], call.in[1][i]);
}

void ref_copy(const RefCall& call);  // input 0's elements in their order
// out[i] = in[start + strides . (index of i)]
void ref_strided_read(const RefCall& call, const Shape& strides, std::int64_t start);

// --- samples -------------------------------------------------------------------------------------

// Shapes from a scalar to more than one tile of the fused loops. None is empty: no program here has
// an empty tensor.
std::vector<Shape> sample_shapes();
// `count` inputs of one f32 type, over sample_shapes().
std::vector<Sample> same_type_samples(std::size_t count, double low, double high);

// A sample with one f32 input and attributes set by `set(attrs)`.
template <class Set>
Sample sample_of(Shape shape, Set set) {
  Sample sample{.in = {{DType::f32, std::move(shape)}}};
  set(sample.attrs);
  return sample;
}

constexpr std::uint32_t first_inputs(std::size_t count) { return (1u << count) - 1u; }

}  // namespace mixflow::rules
