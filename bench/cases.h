// What kernel_bench measures: small graphs of the shapes and formulas that experiments consist of.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace mixflow::bench {

struct Case {
  std::string name;      // family/what/shape, then /vjp or /second
  GraphPtr graph;        // f32; i32 inputs are indices
  std::int64_t ids = 0;  // i32 inputs are below this
};

// Fused programs (RMSNorm, softmax, GELU, Adam) with their gradients (/vjp) and the tangents of
// these, which mixed mode computes (/second); reductions; moves; products.
std::vector<Case> cases();

}  // namespace mixflow::bench
