// Every primitive op and the four structural ones. A new op is one word here and one block in its
// family's file.
#pragma once

#include <span>

#include "graph/op.h"

namespace mixflow {

// clang-format off
#define MIXFLOW_PRIMITIVE_OPS(X) \
  /* elementwise.cpp */ \
  X(neg) X(exp) X(log) X(sqrt) X(rsqrt) X(reciprocal) X(square) X(tanh) X(sigmoid) X(softplus) \
  X(sin) X(cos) X(abs) X(sign) X(relu) X(step) X(add) X(sub) X(mul) X(div) X(max) X(min) X(pow) \
  X(less) X(equal) X(select) X(stop_gradient) X(named) X(named_cotangent) X(convert) \
  /* reduce.cpp */ \
  X(sum) X(max_reduce) X(logsumexp) \
  /* shape.cpp */ \
  X(full) X(iota) X(reshape) X(transpose) X(broadcast) \
  /* slice.cpp */ \
  X(slice) X(pad) X(concat) X(reverse) \
  /* dot.cpp */ \
  X(dot) X(dot_sum) \
  /* pack.cpp */ \
  X(pack_bf16) \
  /* gather.cpp */ \
  X(one_hot) X(gather) X(scatter_add)
// clang-format on

#define MIXFLOW_STRUCTURAL_OPS(X) X(scan) X(map) X(grad) X(fused)

namespace op {
#define X(name) extern const OpDef k_##name;
MIXFLOW_PRIMITIVE_OPS(X)
MIXFLOW_STRUCTURAL_OPS(X)
#undef X
}  // namespace op

// All primitive ops, for the generic tests.
std::span<const OpDef* const> all_ops();

}  // namespace mixflow
