// Maps over the same elements that do the same products become one. A loss by blocks is such a
// pair: one map for its value, and one for its gradient, which recomputes the value on its way.
#pragma once

#include "graph/graph.h"

namespace mixflow {

// A map is merged into a later one of as many iterations that reads all that it reads, does not
// depend on it and computes all of its products, until no body has such a pair. After all
// differentiation, before lower_map.
GraphPtr merge_maps(const Graph& graph);

}  // namespace mixflow
