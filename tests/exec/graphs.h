// Graphs for tests of plans and executors: random ones, their derivatives, and the same graph in
// another type.
#pragma once

#include <memory>
#include <vector>

#include "graph/op.h"
#include "transform/random_graph.h"
#include "transform/transform.h"

namespace mixflow::testing {

// The graph with every float type replaced.
inline GraphPtr retyped(const Graph& graph, DType dtype) {
  auto copy = std::make_shared<Graph>(graph);
  for (Value& value : copy->values) {
    if (is_float(value.type.dtype)) value.type.dtype = dtype;
  }
  for (Node& node : copy->nodes) {
    if (is_float(node.attrs.dtype)) node.attrs.dtype = dtype;
    if (!node.attrs.region) continue;
    auto region = std::make_shared<Region>(*node.attrs.region);
    region->body = retyped(*region->body, dtype);
    node.attrs.region = region;
  }
  return copy;
}

inline Mask all_float_inputs(const Graph& graph) {
  Mask mask;
  for (const Id in : graph.inputs) mask.push_back(is_float(graph.type(in).dtype));
  return mask;
}

// A random graph, or its gradient, or the gradient's derivative: the deeper, the more stacks and
// reverse scans.
inline GraphPtr random_program(unsigned seed) {
  RandomGraph random(seed);
  GraphPtr graph = random.make(4, 12, 2);
  const Mask outputs(graph->outputs.size(), true);
  if (seed % 3 == 0) return graph;
  graph = vjp(*graph, all_float_inputs(*graph), outputs, true).graph;
  if (seed % 3 == 1) return graph;
  return jvp(*graph, all_float_inputs(*graph)).graph;
}

// A random graph of loops with 1 to 5 iterations and many stacks of carries, or one of its first
// three derivatives.
inline GraphPtr random_loops(unsigned seed) {
  RandomGraph random(seed, 1 + seed % 5, true);
  GraphPtr graph = random.make(3, 7 + random.below(4), 1 + random.below(3));
  for (unsigned order = seed / 5 % 4; order > 0; --order) {
    if (random.coin()) {
      graph = jvp(*graph, all_float_inputs(*graph)).graph;
      continue;
    }
    const Mask outputs(graph->outputs.size(), true);
    graph = vjp(*graph, all_float_inputs(*graph), outputs, random.coin()).graph;
  }
  return graph;
}

}  // namespace mixflow::testing
