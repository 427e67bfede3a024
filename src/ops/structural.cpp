// The ops whose bodies are graphs. They have no shape rule of their own (graph/infer_region.h) and
// no rules of differentiation: the transforms know them by address.
#include "ops/fused_lower.h"
#include "ops/op_list.h"

namespace mixflow::op {

// scan    sequential loop: (consts, carry, xs) -> (carry, ys)
constinit const OpDef k_scan = {.name = "scan", .arity = -1, .deriv = Structural{}};

// map     independent iterations: (consts, sum inits, xs) -> (sums, ys)
constinit const OpDef k_map = {.name = "map", .arity = -1, .deriv = Structural{}};

// grad    value and gradient of a scalar loss, symbolic: (theta, rest) -> (loss, d loss/d theta)
constinit const OpDef k_grad = {.name = "grad", .arity = -1, .deriv = Structural{}};

// fused   a chain of elementwise ops and row reductions run as one kernel
constinit const OpDef k_fused = {
    .name = "fused", .arity = -1, .deriv = Structural{}, .lower = lower_fused};

}  // namespace mixflow::op
