// Which nodes of one body become fused nodes together: the grouping half of the fuse pass.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "graph/graph.h"

namespace mixflow {

// One kernel to be: nodes in topological order. Free producers (full, iota, broadcast) and cheap
// ops may be in several groups; groups compute them each for themselves.
struct FuseGroup {
  std::vector<std::int32_t> nodes;
  std::vector<Id> inputs;
  std::vector<Id> outputs;
};

// A step of the fused program: a group, or a node on its own (group -1).
struct FuseUnit {
  std::int32_t group = -1;
  std::int32_t node = -1;
};

struct FusePlan {
  std::vector<FuseGroup> groups;
  std::vector<FuseUnit> order;  // topological
  std::int64_t searched = 0;    // units that searches for cycles looked at
};

// `graph` has no `named` and `stop_gradient` nodes. Bodies are not looked into.
FusePlan plan_fusion(const Graph& graph);

}  // namespace mixflow
