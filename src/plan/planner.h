// Plans a graph for execution: order, places, kernels. Everything that a run needs is known
// afterwards, so the run allocates nothing and its memory is known to the byte before it starts.
#pragma once

#include <vector>

#include "plan/body.h"

namespace mixflow {

struct PlanOptions {
  int threads = 1;      // of kernels at the top level, and of the outermost parallel loops
  bool bf16 = false;    // products from operands rounded to bf16, where that is faster
  bool share = true;    // false: every value has memory of its own and nothing is done in place
                        // (checked runs compare)
  bool poison = false;  // record what each instruction frees
  bool inline_loops = false;  // short loops become straight code (transform/inline_loops.h)
};

// `graph` holds no map and no grad node, and every elementwise op is fused (transform/). Contracts:
// one per input and output.
BodyPtr plan_body(const GraphPtr& graph, const std::vector<InputContract>& inputs,
                  const std::vector<OutputContract>& outputs, const PlanOptions& options);

// The phase (body.h) of a node by its label: the first part of the path, and whether it is of the
// backward pass. "outer loss/layers.0 bar" -> "outer loss bar".
std::string phase_of(const std::string& label);

}  // namespace mixflow
