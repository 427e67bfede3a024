// The builder's vocabulary: thin wrappers that broadcast operands and fill in attributes.
#include <algorithm>
#include <numeric>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

Shape all_axes(std::size_t rank) {
  Shape axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

// NumPy's rule: aligned at the last axis, sizes equal or one of them 1.
Shape common_shape(const Shape& a, const Shape& b) {
  Shape result = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  const std::size_t skip = result.size() - shorter.size();
  for (std::size_t i = 0; i < shorter.size(); ++i) {
    std::int64_t& size = result[skip + i];
    MIXFLOW_CHECK(size == shorter[i] || size == 1 || shorter[i] == 1,
                  "shapes " + to_string(a) + " and " + to_string(b) + " do not broadcast");
    if (size == 1) size = shorter[i];
  }
  return result;
}

}  // namespace

// --- constants ---------------------------------------------------------------------------------

Id Builder::full(double value, DType dtype, Shape shape) {
  Attrs attrs;
  attrs.value = value;
  attrs.dtype = dtype;
  attrs.shape = std::move(shape);
  return emit(op::k_full, {}, std::move(attrs));
}

Id Builder::iota(DType dtype, Shape shape, int axis) {
  Attrs attrs;
  attrs.dtype = dtype;
  attrs.shape = std::move(shape);
  attrs.axes = {axis};
  return emit(op::k_iota, {}, std::move(attrs));
}

// --- elementwise -------------------------------------------------------------------------------

std::pair<Id, Id> Builder::common(Id a, Id b) {
  const Shape result = common_shape(shape(a), shape(b));
  return {broadcast_to(a, result), broadcast_to(b, result)};
}

Id Builder::binary(const OpDef& op, Id a, Id b) {
  const auto [x, y] = common(a, b);
  return emit(op, {x, y});
}

#define MIXFLOW_UNARY(name) \
  Id Builder::name(Id x) { return emit(op::k_##name, {x}); }
MIXFLOW_UNARY(neg)
MIXFLOW_UNARY(exp)
MIXFLOW_UNARY(log)
MIXFLOW_UNARY(sqrt)
MIXFLOW_UNARY(rsqrt)
MIXFLOW_UNARY(reciprocal)
MIXFLOW_UNARY(square)
MIXFLOW_UNARY(tanh)
MIXFLOW_UNARY(sigmoid)
MIXFLOW_UNARY(softplus)
MIXFLOW_UNARY(sin)
MIXFLOW_UNARY(cos)
MIXFLOW_UNARY(abs)
MIXFLOW_UNARY(sign)
MIXFLOW_UNARY(relu)
MIXFLOW_UNARY(step)
MIXFLOW_UNARY(stop_gradient)
MIXFLOW_UNARY(logsumexp)
#undef MIXFLOW_UNARY

#define MIXFLOW_BINARY(name) \
  Id Builder::name(Id a, Id b) { return binary(op::k_##name, a, b); }
MIXFLOW_BINARY(add)
MIXFLOW_BINARY(sub)
MIXFLOW_BINARY(mul)
MIXFLOW_BINARY(div)
MIXFLOW_BINARY(max)
MIXFLOW_BINARY(min)
MIXFLOW_BINARY(pow)
MIXFLOW_BINARY(less)
MIXFLOW_BINARY(equal)
#undef MIXFLOW_BINARY

Id Builder::select(Id mask, Id a, Id b) {
  const Shape result = common_shape(shape(mask), common_shape(shape(a), shape(b)));
  const Id full_mask = broadcast_to(mask, result);
  const Id full_a = broadcast_to(a, result);
  return emit(op::k_select, {full_mask, full_a, broadcast_to(b, result)});
}

Id Builder::convert(Id x, DType dtype) {
  Attrs attrs;
  attrs.dtype = dtype;
  return emit(op::k_convert, {x}, std::move(attrs));
}

Id Builder::named(Id x, std::string name) {
  Attrs attrs;
  attrs.name = std::move(name);
  return emit(op::k_named, {x}, std::move(attrs));
}

Id Builder::named_cotangent(Id x, std::string name) {
  Attrs attrs;
  attrs.name = std::move(name);
  return emit(op::k_named_cotangent, {x}, std::move(attrs));
}

// --- shapes ------------------------------------------------------------------------------------

Id Builder::reshape(Id x, Shape shape) {
  Attrs attrs;
  attrs.shape = std::move(shape);
  return emit(op::k_reshape, {x}, std::move(attrs));
}

Id Builder::transpose(Id x, Shape permutation) {
  Attrs attrs;
  attrs.axes = std::move(permutation);
  return emit(op::k_transpose, {x}, std::move(attrs));
}

Id Builder::broadcast(Id x, Shape axes, Shape shape) {
  Attrs attrs;
  attrs.axes = std::move(axes);
  attrs.shape = std::move(shape);
  return emit(op::k_broadcast, {x}, std::move(attrs));
}

Id Builder::broadcast_to(Id x, Shape shape) {
  const Shape from = this->shape(x);
  if (from == shape) return x;
  MIXFLOW_CHECK(common_shape(from, shape) == shape,
                to_string(from) + " cannot be broadcast to " + to_string(shape));
  const std::size_t skip = shape.size() - from.size();
  Shape added = all_axes(skip);
  Shape kept;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (from[i] == shape[skip + i]) {
      kept.push_back(from[i]);
    } else {  // size 1: the axis is dropped and comes back as a new one
      added.push_back(static_cast<std::int64_t>(skip + i));
    }
  }
  return broadcast(reshape(x, std::move(kept)), std::move(added), std::move(shape));
}

Id Builder::sum(Id x, Shape axes) {
  Attrs attrs;
  attrs.axes = std::move(axes);
  return emit(op::k_sum, {x}, std::move(attrs));
}

Id Builder::sum_all(Id x) { return sum(x, all_axes(shape(x).size())); }

Id Builder::mean(Id x, Shape axes) {
  std::int64_t count = 1;
  for (std::int64_t axis : axes) count *= shape(x)[index(axis)];
  return mul(sum(x, std::move(axes)), 1.0 / static_cast<double>(count));
}

Id Builder::mean_all(Id x) { return mean(x, all_axes(shape(x).size())); }

Id Builder::max_reduce(Id x, Shape axes) {
  Attrs attrs;
  attrs.axes = std::move(axes);
  return emit(op::k_max_reduce, {x}, std::move(attrs));
}

Id Builder::slice(Id x, Shape starts, Shape limits) {
  Attrs attrs;
  attrs.starts = std::move(starts);
  attrs.axes = std::move(limits);
  return emit(op::k_slice, {x}, std::move(attrs));
}

Id Builder::pad(Id x, Shape starts, Shape shape) {
  Attrs attrs;
  attrs.starts = std::move(starts);
  attrs.shape = std::move(shape);
  return emit(op::k_pad, {x}, std::move(attrs));
}

Id Builder::concat(std::span<const Id> xs, int axis) {
  Attrs attrs;
  attrs.axes = {axis};
  return emit(op::k_concat, xs, std::move(attrs));
}

Id Builder::reverse(Id x, Shape axes) {
  Attrs attrs;
  attrs.axes = std::move(axes);
  return emit(op::k_reverse, {x}, std::move(attrs));
}

// --- products and indices ----------------------------------------------------------------------

Id Builder::dot(Id a, Id b, bool trans_a, bool trans_b) {
  Attrs attrs;
  attrs.trans_a = trans_a;
  attrs.trans_b = trans_b;
  const Shape sa = shape(a);
  const Shape sb = shape(b);
  MIXFLOW_CHECK(sa.size() >= 2 && sb.size() >= 2,
                "[dot] operands need two axes, got " + to_string(sa) + " and " + to_string(sb));
  if (sb.size() == 2 && sa.size() > 2 && !trans_a) {
    // One weight for the whole batch: the batch is just more rows.
    Shape result(sa.begin(), sa.end() - 1);
    const Id rows = reshape(a, {num_elements(result), sa.back()});
    result.push_back(trans_b ? sb[0] : sb[1]);
    return reshape(emit(op::k_dot, {rows, b}, std::move(attrs)), std::move(result));
  }
  const auto with_batch = [&](Id x, const Shape& own, const Shape& other) {
    if (own.size() != 2 || other.size() == 2) return x;
    Shape target(other.begin(), other.end() - 2);
    target.insert(target.end(), own.begin(), own.end());
    return broadcast_to(x, std::move(target));
  };
  const Id x = with_batch(a, sa, sb);
  return emit(op::k_dot, {x, with_batch(b, sb, sa)}, std::move(attrs));
}

Id Builder::one_hot(Id index, std::int64_t depth, DType dtype) {
  Attrs attrs;
  attrs.value = static_cast<double>(depth);
  attrs.dtype = dtype;
  return emit(op::k_one_hot, {index}, std::move(attrs));
}

Id Builder::gather(Id table, Id index) { return emit(op::k_gather, {table, index}); }

Id Builder::scatter_add(Id updates, Id index, std::int64_t rows) {
  Attrs attrs;
  attrs.value = static_cast<double>(rows);
  return emit(op::k_scatter_add, {updates, index}, std::move(attrs));
}

// --- structural --------------------------------------------------------------------------------

namespace {

Builder::Loop split(const Ids& out, std::size_t carry) {
  const auto middle = out.begin() + static_cast<std::ptrdiff_t>(carry);
  return {Ids(out.begin(), middle), Ids(middle, out.end())};
}

Ids joined(std::initializer_list<std::span<const Id>> groups) {
  Ids all;
  for (std::span<const Id> group : groups) all.insert(all.end(), group.begin(), group.end());
  return all;
}

}  // namespace

Builder::Loop Builder::scan(GraphPtr body, std::span<const Id> consts, std::span<const Id> carry,
                            std::span<const Id> xs, std::int64_t n, bool reverse, Policy policy) {
  auto region = std::make_shared<Region>();
  region->body = std::move(body);
  region->n = n;
  region->num_consts = static_cast<int>(consts.size());
  region->num_carry = static_cast<int>(carry.size());
  region->num_xs = static_cast<int>(xs.size());
  region->reverse = reverse;
  region->policy = std::move(policy);
  return split(emit_region(op::k_scan, joined({consts, carry, xs}), std::move(region)),
               carry.size());
}

Builder::Loop Builder::map(GraphPtr body, std::span<const Id> consts, std::span<const Id> xs,
                           std::int64_t n, int sums, Policy policy) {
  MIXFLOW_CHECK(sums >= 0 && index(sums) <= body->outputs.size(), "[map] more sums than outputs");
  Ids inits;
  for (int i = 0; i < sums; ++i) {
    const Type& sum = body->type(body->outputs[index(i)]);
    inits.push_back(full(0, sum.dtype, sum.shape));
  }
  auto region = std::make_shared<Region>();
  region->body = std::move(body);
  region->n = n;
  region->num_consts = static_cast<int>(consts.size());
  region->num_carry = sums;
  region->num_xs = static_cast<int>(xs.size());
  region->policy = std::move(policy);
  return split(emit_region(op::k_map, joined({consts, inits, xs}), std::move(region)),
               inits.size());
}

Builder::Grad Builder::grad(GraphPtr loss, std::span<const Id> theta, std::span<const Id> rest,
                            GradMode mode) {
  auto region = std::make_shared<Region>();
  region->body = std::move(loss);
  region->num_carry = static_cast<int>(theta.size());
  region->num_xs = static_cast<int>(rest.size());
  region->grad_mode = mode;
  const Ids out = emit_region(op::k_grad, joined({theta, rest}), std::move(region));
  return {out[0], Ids(out.begin() + 1, out.end())};
}

}  // namespace mixflow
