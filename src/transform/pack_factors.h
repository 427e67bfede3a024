// For plans in bf16: factors of products that would be rounded and packed more than once
// are packed by a node of their own, a loop's constants before the loop. So a layer's weights are
// packed once for all blocks of tokens, and keys once for all blocks of queries.
#pragma once

#include "graph/graph.h"

namespace mixflow {

// After merge_dots: a product that reads a packed factor is a dot_sum.
GraphPtr pack_factors(const Graph& graph);

}  // namespace mixflow
