// Graphs as text and as Graphviz dot.
#pragma once

#include <string>

#include "graph/graph.h"

namespace mixflow {

// One line per node: "%7: f32[10,40] = dot(%3, %4) {trans_b}  # label"; bodies indented below their
// node.
std::string to_text(const Graph& graph);
// Clusters for bodies.
std::string to_dot(const Graph& graph);

}  // namespace mixflow
