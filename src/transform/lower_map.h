// The last structural step before planning: a map becomes a scan whose carries are its sums,
//   sum' = sum + s,
// marked `parallel`: iterations are independent but for those additions. Planner and executor then
// know one kind of loop, the accumulation is visible to merge_dots and fuse, and a sum starts
// wherever its init lives.
#pragma once

#include "graph/graph.h"

namespace mixflow {

GraphPtr lower_map(const Graph& graph);

}  // namespace mixflow
