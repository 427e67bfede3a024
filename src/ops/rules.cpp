#include "ops/rules.h"

namespace mixflow::rules {

std::string describe(std::string_view op, std::string_view problem, std::span<const Type> in) {
  std::string text = "[" + std::string(op) + "] " + std::string(problem) + ":";
  if (in.empty()) text += " no inputs";
  for (std::size_t i = 0; i < in.size(); ++i) text += (i == 0 ? " " : ", ") + to_string(in[i]);
  return text;
}

void expect_inputs(std::string_view op, std::span<const Type> in, std::size_t count) {
  MIXFLOW_CHECK(in.size() == count,
                describe(op, "expected " + std::to_string(count) + " inputs", in));
}

void expect_float(std::string_view op, std::span<const Type> in) {
  for (const Type& type : in) {
    MIXFLOW_CHECK(is_float(type.dtype), describe(op, "expected floating-point inputs", in));
  }
}

void expect_axes(std::string_view op, std::span<const Type> in, const Shape& axes, int rank) {
  std::int64_t last = -1;
  for (const std::int64_t axis : axes) {
    MIXFLOW_CHECK(axis > last && axis < rank,
                  describe(op, "axes " + to_string(axes) + " are not ascending axes", in));
    last = axis;
  }
}

Type infer_same(std::string_view op, std::span<const Type> in, std::size_t count, Domain domain) {
  expect_inputs(op, in, count);
  if (domain == Domain::floats) expect_float(op, in);
  for (const Type& type : in) {
    MIXFLOW_CHECK(type == in[0], describe(op, "operands have different types", in));
  }
  return in[0];
}

Shape prepend(std::int64_t first, const Shape& rest) {
  Shape shape{first};
  shape.insert(shape.end(), rest.begin(), rest.end());
  return shape;
}

Shape shifted(Shape axes) {
  for (std::int64_t& axis : axes) ++axis;
  return axes;
}

Id with_leading(Builder& b, Id x, bool batched, std::int64_t n) {
  return batched ? x : b.broadcast(x, {0}, prepend(n, b.shape(x)));
}

Ids with_leading(Builder& b, std::span<const Id> xs, const std::vector<bool>& batched,
                 std::int64_t n) {
  Ids all;
  for (std::size_t i = 0; i < xs.size(); ++i) all.push_back(with_leading(b, xs[i], batched[i], n));
  return all;
}

Id batch_leading(Builder& b, const Call& call, std::span<const Id> in,
                 const std::vector<bool>& batched, std::int64_t n) {
  return b.emit(call.op, with_leading(b, in, batched, n), call.attrs);
}

Cost traffic(std::span<const Type> in, const Type& out, std::int64_t flop) {
  Cost cost{.flop = flop, .bytes_written = out.bytes()};
  for (const Type& type : in) cost.bytes_read += type.bytes();
  return cost;
}

Cost elementwise_cost(std::span<const Type> in, const Type& out, const Attrs&) {
  return traffic(in, out, out.elements());
}

Cost copy_cost(std::span<const Type> in, const Type& out, const Attrs&) {
  return {.bytes_read = out.elements() * dtype_bytes(in[0].dtype), .bytes_written = out.bytes()};
}

Cost view_cost(std::span<const Type>, const Type&, const Attrs&) { return {}; }

Shape strides_of(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (std::size_t axis = shape.size(); axis-- > 1;) {
    strides[axis - 1] = strides[axis] * shape[axis];
  }
  return strides;
}

void ref_copy(const RefCall& call) { std::copy_n(call.in[0], call.out_type.elements(), call.out); }

void ref_strided_read(const RefCall& call, const Shape& strides, std::int64_t start) {
  for_each_strided(call.out_type.shape, strides, start,
                   [&](std::int64_t i, std::int64_t at) { call.out[i] = call.in[0][at]; });
}

std::vector<Shape> sample_shapes() { return {{}, {1}, {7}, {3, 5}, {2, 3, 4}, {1037}}; }

std::vector<Sample> same_type_samples(std::size_t count, double low, double high) {
  std::vector<Sample> samples;
  for (const Shape& shape : sample_shapes()) {
    const std::vector<Type> in(count, Type{DType::f32, shape});
    samples.push_back({.in = in, .low = low, .high = high});
  }
  return samples;
}

}  // namespace mixflow::rules
