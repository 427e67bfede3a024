// The IR's rules, checked: SSA, topological order, types equal to the shape rules' answers, regions
// whose bodies fit their nodes. Run after every pass in the dev preset and in all tests.
#pragma once

#include "graph/graph.h"

namespace mixflow {

// Throws InternalError naming the node and the rule that it breaks.
void verify(const Graph& graph);

}  // namespace mixflow
