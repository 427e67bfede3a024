// From a node to its kernel: the op's own f32 lowering, or for float64 its reference function.
#pragma once

#include <memory>
#include <vector>

#include "graph/graph.h"
#include "graph/op.h"

namespace mixflow {

std::shared_ptr<const Kernel> lower_node(const Graph& graph, const Node& node, int threads,
                                         bool bf16);

// Work of one execution of a primitive or fused node.
Cost cost_of(const Graph& graph, const Node& node);

// Whether the node's kernel takes null for an output that nobody wants.
bool stores_null(const Node& node);

// By output: bit i says that it may take the buffer of input i.
std::vector<std::uint32_t> overwritable(const Node& node);

}  // namespace mixflow
