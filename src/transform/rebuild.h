// What passes that rebuild graphs share.
#pragma once

#include <functional>
#include <span>

#include "graph/graph.h"
#include "ops/builder.h"

namespace mixflow {

// Appends the equivalent of `node` for these inputs and returns its outputs.
using MakeNode = std::function<Ids(Builder&, const Node&, std::span<const Id> in)>;

// The graph with every node replaced by what `make` appends for it; same inputs, same outputs. Dead
// nodes are dropped.
GraphPtr rebuild(const Graph& graph, const MakeNode& make);

// Inputs of `graph`, declared in `builder` under their own names.
Ids declare_inputs(Builder& builder, const Graph& graph);

// Equal node by node, ids included; regions by pointer, labels and names ignored.
bool same_graph(const Graph& a, const Graph& b);

}  // namespace mixflow
