#include "transform/rebuild.h"

#include <algorithm>

namespace mixflow {

Ids declare_inputs(Builder& builder, const Graph& graph) {
  Ids inputs;
  for (Id id : graph.inputs) {
    const Value& value = graph.values[static_cast<std::size_t>(id)];
    inputs.push_back(builder.input(value.type, value.name));
  }
  return inputs;
}

GraphPtr rebuild(const Graph& graph, const MakeNode& make) {
  Builder b;
  Ids map(graph.values.size(), kNone);
  const auto mapped = [&](const Ids& ids) {
    Ids result;
    for (Id id : ids) result.push_back(map[static_cast<std::size_t>(id)]);
    return result;
  };
  const Ids inputs = declare_inputs(b, graph);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    map[static_cast<std::size_t>(graph.inputs[i])] = inputs[i];
  }
  for (const Node& node : graph.nodes) {
    b.set_label(node.label);
    const Ids out = make(b, node, mapped(node.in));
    for (std::size_t i = 0; i < node.out.size(); ++i) {
      map[static_cast<std::size_t>(node.out[i])] = out[i];
    }
  }
  return b.finish(mapped(graph.outputs));
}

bool same_graph(const Graph& a, const Graph& b) {
  const auto same_node = [](const Node& x, const Node& y) {
    return x.op == y.op && x.in == y.in && x.out == y.out && x.attrs == y.attrs;
  };
  const auto same_value = [](const Value& x, const Value& y) {
    return x.type == y.type && x.node == y.node && x.index == y.index;
  };
  return a.inputs == b.inputs && a.outputs == b.outputs &&
         std::ranges::equal(a.values, b.values, same_value) &&
         std::ranges::equal(a.nodes, b.nodes, same_node);
}

RegionPtr with_body(const RegionPtr& region, const GraphPtr& body) {
  if (same_graph(*body, *region->body)) return region;
  auto changed = std::make_shared<Region>(*region);
  changed->body = body;
  return changed;
}

}  // namespace mixflow
