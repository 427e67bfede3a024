// The lowering of a fused node: its body, a chain of elementwise ops and row reductions, as one
// kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "graph/op.h"
#include "kernels/fused.h"

namespace mixflow {

// Whether a kernel can do a reversal: along the last but one axis, of few elements at a time.
bool is_fusable_reverse(const Graph& graph, const Node& node);

// Whether a kernel can compute `nodes` of `graph` (in topological order) in one go, and how: the
// space is the largest of their shapes, and every value depends on all of its axes, on all but the
// last (after a reduction over the last axis), or on none. A sum over other neighbouring axes must
// be an output and nothing else. Values that the nodes take from outside are the inputs, numbered
// as in `inputs`; f32 or f64. Null where it cannot.
std::optional<FusedSpec> fused_spec(const Graph& graph, std::span<const std::int32_t> nodes,
                                    std::span<const Id> inputs, std::span<const Id> outputs);

std::unique_ptr<Kernel> lower_fused(const LowerCall& call);

// For each output of a fused node, which inputs' buffers it may take: bit i is input i. One input
// serves one output only.
std::vector<std::uint32_t> fused_may_overwrite(const Node& node);

}  // namespace mixflow
