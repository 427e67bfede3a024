// The reference executor: one node at a time, in float64, with a buffer per value. Deliberately
// simple: the oracle for plans and kernels.
#pragma once

#include <span>
#include <vector>

#include "graph/graph.h"

namespace mixflow {

using Tensor64 = std::vector<double>;  // dense, row-major; i32 values as doubles

// Evaluates `graph`, bodies included (scan in order, map in order i = 0, 1, ..: sums = ((init + s0)
// + s1) + ..). Throws InternalError where the inputs do not fit, and on a grad node: lower_grad
// comes first.
std::vector<Tensor64> evaluate(const Graph& graph, const std::vector<Tensor64>& inputs);

// Evaluates one primitive node of `graph`: in[i] and `out` are dense values of the node's inputs
// and output, which do not overlap. Allocates the op's small index vectors only.
void run_reference(const Graph& graph, const Node& node, std::span<const double* const> in,
                   double* out);

}  // namespace mixflow
