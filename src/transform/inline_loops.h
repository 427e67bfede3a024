// Short loops over few values become part of the body around them: the inner steps of a small
// model. Such a model feels the loop and its stacks, and a backward loop computes again what is
// still there; in one body equal values are shared, and sums go on from one iteration to the next.
// The loop's remat policy is void: what it would free fits in a core's cache.
#pragma once

#include "graph/graph.h"

namespace mixflow {

// After lower_map (loops that threads share stay), before the passes that look for neighbours.
GraphPtr inline_loops(const Graph& graph);

}  // namespace mixflow
