// What passes that rebuild graphs share.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>

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

using RegionPtr = std::shared_ptr<const Region>;

// The region with this body, or itself if its own is the same graph: equal nodes stay equal.
RegionPtr with_body(const RegionPtr& region, const GraphPtr& body);

// The regions that a pass has rewritten, each once: nodes that share one go on sharing it.
class RegionCache {
 public:
  // What `make()`, a RegionPtr, is for this region; it may come back here for regions inside.
  template <class Make>
  RegionPtr get(const RegionPtr& region, const Make& make) {
    if (const auto known = known_.find(region); known != known_.end()) return known->second;
    RegionPtr made = make();
    return known_.emplace(region, std::move(made)).first->second;
  }

 private:
  std::unordered_map<RegionPtr, RegionPtr> known_;
};

}  // namespace mixflow
