// A compiled graph: its plan, and how much memory and work one run takes.
#pragma once

#include <string>
#include <vector>

#include "plan/body.h"
#include "plan/planner.h"

namespace mixflow {

// The output is written over that input: eta' over eta.
struct Donation {
  int input = 0;
  int output = 0;
};

struct Program {
  GraphPtr graph;
  BodyPtr body;
  std::vector<Donation> donations;
  PlanOptions options;
  std::int64_t static_bytes = 0;     // the inputs
  std::int64_t workspace_bytes = 0;  // of the top-level body
  std::int64_t result_bytes = 0;     // outputs that no input gave memory for
  std::int64_t dynamic_bytes = 0;    // workspace and results: the arena
  std::int64_t flop = 0;             // of one run, recomputation included
  std::int64_t nodes = 0;            // bodies included
};
using ProgramPtr = std::shared_ptr<const Program>;

// Runs the passes (see the list in program.cpp) and plans.
ProgramPtr compile(const GraphPtr& graph, const std::vector<Donation>& donations,
                   const PlanOptions& options);

// The passes before planning: grad nodes lowered, maps as scans, short loops inlined if `options`
// say so, thin products spread, others merged, elementwise chains fused; in bf16, factors that
// several products read packed once.
GraphPtr optimize(const GraphPtr& graph, const PlanOptions& options);

}  // namespace mixflow
