// Types and attributes of an op into sizes and strides of a kernel. Nothing here runs in a
// meta-step.
#include "ops/lower.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <functional>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "kernels/bf16_pack.h"
#include "kernels/gemm.h"
#include "kernels/move.h"
#include "kernels/reduce.h"
#include "kernels/repeat.h"
#include "ops/pack.h"
#include "ops/rules.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

using rules::strides_of;

std::int64_t product(Shape::const_iterator first, Shape::const_iterator last) {
  return std::accumulate(first, last, std::int64_t{1}, std::multiplies<>());
}

std::int64_t offset_of(const Shape& strides, const Shape& starts) {
  return std::inner_product(strides.begin(), strides.end(), starts.begin(), std::int64_t{0});
}

// Kernels exist for 4-byte types; f64 graphs run on the reference executor.
void expect_4_bytes(std::string_view op, const Type& type) {
  MIXFLOW_CHECK(dtype_bytes(type.dtype) == 4,
                std::string(op) + ": no kernel for " + to_string(type));
}

void expect_f32(std::string_view op, const Type& type) {
  MIXFLOW_CHECK(type.dtype == DType::f32, std::string(op) + ": no kernel for " + to_string(type));
}

// out = in[0] read at strides `from` (one per result axis), written densely.
std::unique_ptr<Kernel> lower_read(const LowerCall& call, Shape from, std::int64_t from_start) {
  const Shape& shape = call.out[0].shape;
  return make_copy({{shape, std::move(from), strides_of(shape), from_start, 0}}, 0, call.threads);
}

GemmProduct gemm_product(const Type& a, std::int64_t flags) {
  const bool trans_a = (flags & kPairTransA) != 0, packed_a = (flags & kPairPackedA) != 0;
  const Shape& left = packed_a ? unpacked_type(a, Side::left).shape : a.shape;
  return {.k = left[left.size() - (trans_a ? 2 : 1)],
          .trans_a = trans_a,
          .trans_b = (flags & kPairTransB) != 0,
          .packed_a = packed_a,
          .packed_b = (flags & kPairPackedB) != 0};
}

GemmShape gemm_shape(const LowerCall& call) {
  const Shape& c = call.out[0].shape;
  return {.batch = product(c.begin(), c.end() - 2),
          .m = c[c.size() - 2],
          .n = c.back(),
          .threads = call.threads,
          .bf16 = call.bf16};
}

}  // namespace

std::unique_ptr<Kernel> lower_dot(const LowerCall& call) {
  expect_f32("dot", call.out[0]);
  GemmShape shape = gemm_shape(call);
  shape.products.push_back(gemm_product(
      call.in[0], (call.attrs.trans_a ? kPairTransA : 0) + (call.attrs.trans_b ? kPairTransB : 0)));
  return make_gemm(shape);
}

std::unique_ptr<Kernel> lower_dot_sum(const LowerCall& call) {
  expect_f32("dot_sum", call.out[0]);
  GemmShape shape = gemm_shape(call);
  for (std::size_t p = 0; p < call.attrs.axes.size(); ++p)
    shape.products.push_back(gemm_product(call.in[2 * p], call.attrs.axes[p]));
  shape.add_z = call.in.size() > 2 * shape.products.size();
  return make_gemm(shape);
}

std::unique_ptr<Kernel> lower_pack_bf16(const LowerCall& call) {
  const Shape& words = call.out[0].shape;
  const bool right = side_of(call.attrs) == Side::right;
  return make_bf16_pack({.batch = product(words.begin(), words.end() - 3),
                         .vectors = words[words.size() - 3] * kBf16Vectors,
                         .terms = words[words.size() - 2] * kBf16Terms,
                         .terms_contiguous = right ? call.attrs.trans_b : !call.attrs.trans_a,
                         .side_by_side = right,
                         .threads = call.threads});
}

std::unique_ptr<Kernel> lower_sum(const LowerCall& call) {
  expect_f32("sum", call.in[0]);
  return make_reduce(Reduction::sum, call.in[0].shape, call.attrs.axes, call.threads);
}

std::unique_ptr<Kernel> lower_max_reduce(const LowerCall& call) {
  expect_f32("max_reduce", call.in[0]);
  return make_reduce(Reduction::max, call.in[0].shape, call.attrs.axes, call.threads);
}

std::unique_ptr<Kernel> lower_logsumexp(const LowerCall& call) {
  expect_f32("logsumexp", call.in[0]);
  return make_logsumexp(call.out[0].elements(), call.in[0].shape.back(), call.threads);
}

std::unique_ptr<Kernel> lower_full(const LowerCall& call) {
  const Type& out = call.out[0];
  expect_4_bytes("full", out);
  const auto bits = out.dtype == DType::f32
                        ? std::bit_cast<std::uint32_t>(static_cast<float>(call.attrs.value))
                        : std::bit_cast<std::uint32_t>(static_cast<std::int32_t>(call.attrs.value));
  return make_fill(bits, out.elements(), call.threads);
}

std::unique_ptr<Kernel> lower_iota(const LowerCall& call) {
  const Type& out = call.out[0];
  expect_4_bytes("iota", out);
  const auto axis = out.shape.begin() + call.attrs.axes[0];
  return make_iota(product(out.shape.begin(), axis), *axis, product(axis + 1, out.shape.end()),
                   out.dtype == DType::f32);
}

std::unique_ptr<Kernel> lower_transpose(const LowerCall& call) {
  expect_4_bytes("transpose", call.out[0]);
  const Shape strides = strides_of(call.in[0].shape);
  Shape from;
  for (const std::int64_t axis : call.attrs.axes) from.push_back(strides[index(axis)]);
  return lower_read(call, std::move(from), 0);
}

std::unique_ptr<Kernel> lower_broadcast(const LowerCall& call) {
  expect_4_bytes("broadcast", call.out[0]);
  Shape from = strides_of(call.in[0].shape);
  for (const std::int64_t axis : call.attrs.axes) from.insert(from.begin() + axis, 0);
  return lower_read(call, std::move(from), 0);
}

std::unique_ptr<Kernel> lower_slice(const LowerCall& call) {
  expect_4_bytes("slice", call.out[0]);
  const Shape strides = strides_of(call.in[0].shape);
  return lower_read(call, strides, offset_of(strides, call.attrs.starts));
}

std::unique_ptr<Kernel> lower_pad(const LowerCall& call) {
  expect_4_bytes("pad", call.out[0]);
  const Shape& shape = call.in[0].shape;
  const Shape to = strides_of(call.out[0].shape);
  return make_copy({{shape, strides_of(shape), to, 0, offset_of(to, call.attrs.starts)}},
                   call.out[0].elements(), call.threads);
}

std::unique_ptr<Kernel> lower_concat(const LowerCall& call) {
  expect_4_bytes("concat", call.out[0]);
  const std::size_t axis = index(call.attrs.axes[0]);
  const Shape to = strides_of(call.out[0].shape);
  std::vector<StridedCopy> copies;
  std::int64_t start = 0;
  for (const Type& in : call.in) {
    copies.push_back({in.shape, strides_of(in.shape), to, 0, start * to[axis]});
    start += in.shape[axis];
  }
  return make_copy(std::move(copies), 0, call.threads);
}

std::unique_ptr<Kernel> lower_reverse(const LowerCall& call) {
  expect_4_bytes("reverse", call.out[0]);
  const Shape& shape = call.in[0].shape;
  Shape from = strides_of(shape);
  std::int64_t start = 0;
  for (const std::int64_t axis : call.attrs.axes) {
    start += (shape[index(axis)] - 1) * from[index(axis)];
    from[index(axis)] = -from[index(axis)];
  }
  return lower_read(call, std::move(from), start);
}

std::unique_ptr<Kernel> lower_one_hot(const LowerCall& call) {
  expect_f32("one_hot", call.out[0]);
  return make_one_hot(call.in[0].elements(), call.out[0].shape.back());
}

// gather and scatter_add over leading axes (attrs.axes[0] many) are the kernel of one instance,
// repeated. `table` is the gathered table or the scattered result.
std::unique_ptr<Kernel> lower_gather(const LowerCall& call) {
  expect_4_bytes("gather", call.out[0]);
  const Shape& table = call.in[0].shape;
  const auto rows = table.begin() + (call.attrs.axes.empty() ? 0 : call.attrs.axes[0]);
  const std::int64_t n = product(table.begin(), rows);
  auto one =
      make_gather(*rows, product(rows + 1, table.end()), call.in[1].elements() / n, call.threads);
  return make_repeat(std::move(one), n, {call.in[0].bytes() / n, call.in[1].bytes() / n},
                     call.out[0].bytes() / n);
}

std::unique_ptr<Kernel> lower_scatter_add(const LowerCall& call) {
  expect_f32("scatter_add", call.out[0]);
  const Shape& table = call.out[0].shape;
  const auto rows = table.begin() + (call.attrs.axes.empty() ? 0 : call.attrs.axes[0]);
  const std::int64_t n = product(table.begin(), rows);
  auto one = make_scatter_add(*rows, product(rows + 1, table.end()), call.in[1].elements() / n,
                              call.threads);
  return make_repeat(std::move(one), n, {call.in[0].bytes() / n, call.in[1].bytes() / n},
                     call.out[0].bytes() / n);
}

std::unique_ptr<Kernel> lower_convert(const LowerCall& call) {
  const Type& in = call.in[0];
  const Type& out = call.out[0];
  expect_4_bytes("convert", in);
  expect_4_bytes("convert", out);
  if (in.dtype == out.dtype) return make_copy({{{in.elements()}, {1}, {1}}}, 0, call.threads);
  return make_convert(in.elements(), out.dtype == DType::f32);
}

}  // namespace mixflow
