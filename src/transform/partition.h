// What a loop keeps for the loop of its cotangents or tangents: a choice of values of the joint
// body. Everything else that the derivative reads is recomputed in its own body from the loop's
// constants, the iteration's xs and carries, and the values kept. Policies differ in this choice
// only.
#pragma once

#include <cstddef>
#include <span>

#include "graph/graph.h"
#include "ops/builder.h"

namespace mixflow {

// A loop body, then its derivative, split by position.
struct Joint {
  const Graph& graph;
  std::size_t forward_nodes;      // nodes before this index are the forward pass
  std::span<const Id> invariant;  // inputs that are the same in every iteration
  std::span<const Id> outputs;    // of the derivative
};

// The forward values to keep, in the order of the graph; never inputs, never values that are equal
// in all iterations.
//   carries  none
//   names    what the policy names
//   dots     what the derivative reads, through all ops but products, lookups and loops
//   all      what the derivative reads, through ops that are free to recompute
// A `named` value is kept as what it names, since either may be read.
Ids partition(const Joint& joint, const Policy& policy);

}  // namespace mixflow
