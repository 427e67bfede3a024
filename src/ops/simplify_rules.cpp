#include "ops/simplify_rules.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "util/index.h"

namespace mixflow {
namespace {

// What a rule sees. Nodes and attributes of the graph move when something is appended: rules copy
// what they need before.
struct Site {
  Builder& b;
  std::span<const Id> in;
  const Attrs& attrs;
  const Type& type;

  // The node that makes input i if its op is `op`, else null.
  const Node* made_by(std::size_t i, const OpDef& op) const {
    const Node* node = b.graph().producer(in[i]);
    return node != nullptr && node->op == &op ? node : nullptr;
  }
  const Node* full(std::size_t i) const { return made_by(i, op::k_full); }
  bool is_full(std::size_t i, double value) const { return b.is_full(in[i], value); }
  Id result(double value) const { return b.full(value, type.dtype, type.shape); }
};

bool is_ascending(const Shape& axes) {
  for (std::size_t i = 0; i < axes.size(); ++i) {
    if (axes[i] != static_cast<std::int64_t>(i)) return false;
  }
  return true;
}

// --- elementwise -------------------------------------------------------------------------------

Id simplify_neg(const Site& s) {
  const Node* inner = s.made_by(0, op::k_neg);
  return inner != nullptr ? inner->in[0] : kNone;
}

Id simplify_add(const Site& s) {
  if (s.is_full(0, 0)) return s.in[1];
  if (s.is_full(1, 0)) return s.in[0];
  if (const Node* right = s.made_by(1, op::k_neg)) return s.b.sub(s.in[0], right->in[0]);
  if (const Node* left = s.made_by(0, op::k_neg)) return s.b.sub(s.in[1], left->in[0]);
  return kNone;
}

Id simplify_sub(const Site& s) {
  if (s.is_full(1, 0)) return s.in[0];
  if (s.is_full(0, 0)) return s.b.neg(s.in[1]);
  if (const Node* right = s.made_by(1, op::k_neg)) return s.b.add(s.in[0], right->in[0]);
  return kNone;
}

Id simplify_mul(const Site& s) {
  if (s.is_full(0, 0) || s.is_full(1, 0)) return s.result(0);
  if (s.is_full(0, 1)) return s.in[1];
  if (s.is_full(1, 1)) return s.in[0];
  if (s.is_full(0, -1)) return s.b.neg(s.in[1]);
  if (s.is_full(1, -1)) return s.b.neg(s.in[0]);
  return kNone;
}

Id simplify_div(const Site& s) {
  if (s.is_full(1, 1)) return s.in[0];
  if (s.is_full(0, 0)) return s.result(0);
  return kNone;
}

Id simplify_pow(const Site& s) { return s.is_full(1, 1) ? s.in[0] : kNone; }

Id simplify_select(const Site& s) {
  if (s.in[1] == s.in[2]) return s.in[1];
  const Node* mask = s.full(0);
  if (mask == nullptr) return kNone;
  return mask->attrs.value != 0 ? s.in[1] : s.in[2];
}

Id simplify_stop_gradient(const Site& s) {
  if (s.full(0) != nullptr || s.made_by(0, op::k_stop_gradient) != nullptr) return s.in[0];
  return kNone;
}

Id simplify_convert(const Site& s) { return s.b.dtype(s.in[0]) == s.type.dtype ? s.in[0] : kNone; }

// --- shapes ------------------------------------------------------------------------------------

// Ops that only move elements around leave a constant a constant.
Id simplify_moved_full(const Site& s) {
  const Node* full = s.full(0);
  return full != nullptr ? s.result(full->attrs.value) : kNone;
}

Id simplify_reshape(const Site& s) {
  if (s.b.shape(s.in[0]) == s.type.shape) return s.in[0];
  if (const Node* inner = s.made_by(0, op::k_reshape)) {
    return s.b.reshape(inner->in[0], s.type.shape);
  }
  return simplify_moved_full(s);
}

Id simplify_transpose(const Site& s) {
  if (is_ascending(s.attrs.axes)) return s.in[0];
  if (const Node* inner = s.made_by(0, op::k_transpose)) {
    Shape axes;
    for (std::int64_t axis : s.attrs.axes) axes.push_back(inner->attrs.axes[index(axis)]);
    return s.b.transpose(inner->in[0], std::move(axes));
  }
  return simplify_moved_full(s);
}

Id simplify_broadcast(const Site& s) {
  if (s.attrs.axes.empty()) return s.in[0];
  const Node* inner = s.made_by(0, op::k_broadcast);
  if (inner == nullptr) return simplify_moved_full(s);
  // An axis that the inner broadcast added is the outer result's axis at that place among those
  // kept.
  Shape axes = s.attrs.axes;
  std::int64_t kept = 0;
  for (std::int64_t axis = 0; axis < s.type.rank(); ++axis) {
    if (std::ranges::binary_search(s.attrs.axes, axis)) continue;
    if (std::ranges::binary_search(inner->attrs.axes, kept)) axes.push_back(axis);
    ++kept;
  }
  std::ranges::sort(axes);
  return s.b.broadcast(inner->in[0], std::move(axes), s.type.shape);
}

Id simplify_slice(const Site& s) {
  if (s.b.shape(s.in[0]) == s.type.shape) return s.in[0];
  // One of the parts that were put together.
  if (const Node* parts = s.made_by(0, op::k_concat)) {
    const std::size_t axis = index(parts->attrs.axes[0]);
    std::int64_t begin = 0;
    for (const Id part : parts->in) {
      if (begin == s.attrs.starts[axis] && s.b.shape(part) == s.type.shape) return part;
      begin += s.b.shape(part)[axis];
    }
  }
  return simplify_moved_full(s);
}

Id simplify_pad(const Site& s) {
  if (s.b.shape(s.in[0]) == s.type.shape) return s.in[0];
  return s.is_full(0, 0) ? s.result(0) : kNone;
}

Id simplify_reverse(const Site& s) {
  Shape axes = s.attrs.axes;
  std::erase_if(axes, [&](std::int64_t axis) { return s.type.shape[index(axis)] == 1; });
  if (axes.empty()) return s.in[0];
  if (axes != s.attrs.axes) return s.b.reverse(s.in[0], std::move(axes));
  const Node* inner = s.made_by(0, op::k_reverse);
  if (inner != nullptr && inner->attrs.axes == s.attrs.axes) return inner->in[0];
  return simplify_moved_full(s);
}

Id simplify_concat(const Site& s) {
  if (s.in.size() == 1) return s.in[0];
  const Node* first = s.in.empty() ? nullptr : s.full(0);
  if (first == nullptr) return kNone;
  const double value = first->attrs.value;
  const bool all = std::ranges::all_of(s.in, [&](Id id) { return s.b.is_full(id, value); });
  return all ? s.result(value) : kNone;
}

// --- reductions, products, indices -------------------------------------------------------------

Id simplify_sum(const Site& s) {
  if (s.attrs.axes.empty()) return s.in[0];
  double count = 1;
  for (std::int64_t axis : s.attrs.axes) {
    count *= static_cast<double>(s.b.shape(s.in[0])[index(axis)]);
  }
  if (const Node* full = s.full(0)) return s.result(full->attrs.value * count);
  const Node* inner = s.made_by(0, op::k_broadcast);
  if (inner == nullptr || inner->attrs.axes != s.attrs.axes) return kNone;
  return s.b.mul(inner->in[0], count);
}

Id simplify_max_reduce(const Site& s) {
  if (s.attrs.axes.empty()) return s.in[0];
  return num_elements(s.b.shape(s.in[0])) > 0 ? simplify_moved_full(s) : kNone;
}

bool swaps_last_two(const Shape& axes) {
  if (axes.size() < 2) return false;
  Shape swapped = axes;
  std::swap(swapped[swapped.size() - 1], swapped[swapped.size() - 2]);
  return is_ascending(swapped);
}

Id simplify_dot(const Site& s) {
  if (s.is_full(0, 0) || s.is_full(1, 0)) return s.result(0);
  std::array<Id, 2> in{s.in[0], s.in[1]};
  std::array<bool, 2> trans{s.attrs.trans_a, s.attrs.trans_b};
  for (std::size_t i = 0; i < 2; ++i) {
    const Node* inner = s.made_by(i, op::k_transpose);
    if (inner == nullptr || !swaps_last_two(inner->attrs.axes)) continue;
    in[i] = inner->in[0];
    trans[i] = !trans[i];
  }
  if (in[0] == s.in[0] && in[1] == s.in[1]) return kNone;
  return s.b.dot(in[0], in[1], trans[0], trans[1]);
}

Id simplify_scatter_add(const Site& s) { return s.is_full(0, 0) ? s.result(0) : kNone; }

using Rule = Id (*)(const Site&);

// clang-format off
const std::pair<const OpDef*, Rule> kRules[] = {
    {&op::k_neg, simplify_neg},
    {&op::k_add, simplify_add},
    {&op::k_sub, simplify_sub},
    {&op::k_mul, simplify_mul},
    {&op::k_div, simplify_div},
    {&op::k_pow, simplify_pow},
    {&op::k_select, simplify_select},
    {&op::k_stop_gradient, simplify_stop_gradient},
    {&op::k_convert, simplify_convert},
    {&op::k_reshape, simplify_reshape},
    {&op::k_transpose, simplify_transpose},
    {&op::k_broadcast, simplify_broadcast},
    {&op::k_slice, simplify_slice},
    {&op::k_pad, simplify_pad},
    {&op::k_reverse, simplify_reverse},
    {&op::k_concat, simplify_concat},
    {&op::k_sum, simplify_sum},
    {&op::k_max_reduce, simplify_max_reduce},
    {&op::k_dot, simplify_dot},
    {&op::k_gather, simplify_moved_full},
    {&op::k_scatter_add, simplify_scatter_add},
};

const OpDef* const kFoldable[] = {
    &op::k_neg, &op::k_exp, &op::k_log, &op::k_sqrt, &op::k_rsqrt, &op::k_reciprocal, &op::k_square, &op::k_tanh,
    &op::k_sigmoid, &op::k_softplus, &op::k_sin, &op::k_cos, &op::k_abs, &op::k_sign, &op::k_relu, &op::k_step,
    &op::k_add, &op::k_sub, &op::k_mul, &op::k_div, &op::k_max, &op::k_min, &op::k_pow, &op::k_less, &op::k_equal,
    &op::k_select, &op::k_convert,
};
// clang-format on

// An elementwise op on constants is the constant that the op's reference makes of their values.
Id fold(const OpDef& op, const Site& s) {
  if (op.ref == nullptr || s.in.empty() ||
      std::ranges::find(kFoldable, &op) == std::end(kFoldable)) {
    return kNone;
  }
  std::vector<double> values;
  std::vector<Type> types;
  for (std::size_t i = 0; i < s.in.size(); ++i) {
    const Node* full = s.full(i);
    if (full == nullptr) return kNone;
    values.push_back(full->attrs.value);
    types.push_back({s.b.dtype(s.in[i]), {}});
  }
  std::vector<const double*> in;
  for (const double& value : values) in.push_back(&value);
  const Type scalar{s.type.dtype, {}};
  double result = 0;
  op.ref({types, in, scalar, &result, s.attrs});
  // A NaN is to show where it arises, when it runs; an i32 constant must be an integer.
  if (std::isnan(result) || (!is_float(scalar.dtype) && result != std::trunc(result))) return kNone;
  return s.result(result);
}

}  // namespace

Id simplify_call(Builder& builder, const OpDef& op, std::span<const Id> in, const Attrs& attrs,
                 const Type& type) {
  const Site site{builder, in, attrs, type};
  const Id constant = fold(op, site);
  if (constant != kNone) return constant;
  for (const auto& [candidate, rule] : kRules) {
    if (candidate == &op) return rule(site);
  }
  return kNone;
}

}  // namespace mixflow
