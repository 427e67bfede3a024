// The pass that forms fused kernels.
#pragma once

#include "graph/graph.h"

namespace mixflow {

// The same graph with every float elementwise op inside a `fused` node, in all bodies, and without
// `named` and `stop_gradient`, which mean nothing once all transforms are done. To be run last:
// nothing differentiates a fused node.
//
// A cluster is what one kernel can compute (ops/fused_lower.h): one iteration space, no path that
// leaves it and comes back. Ops join the cluster of a producer, in topological order; then clusters
// merge with their producers, and with others that read the same large value at the same time. A
// cluster does not wait for a later product if its inputs would then be kept in place of fewer
// results. Constants, iota and broadcasts are absorbed by every reader and materialised only for
// readers that are not fused. Reductions with no fusable neighbour stay primitives.
//
// Recomputation: a result of one cheap op (a mask, a product, ..) is computed again in later
// clusters, instead of being stored, where all its operands are there anyway: the cluster reads
// them already, or something still later does, or they are small beside the result, as the
// position of a row of a mask is. step(x) is rewritten to step(relu(x)), which is equal, where
// relu(x) exists: that is what outlives x.
GraphPtr fuse(const Graph& graph);

}  // namespace mixflow
