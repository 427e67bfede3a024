// Two ops of our own: the graph folder knows no op of the real vocabulary.
#pragma once

#include "graph/graph.h"
#include "graph/op.h"
#include "util/error.h"

namespace mixflow::toy {

inline const OpDef kAdd = {
    .name = "add",
    .arity = 2,
    .infer =
        [](std::span<const Type> in, const Attrs&) {
          MIXFLOW_CHECK(in[0] == in[1], "[add] operands differ");
          return in[0];
        },
};
inline const OpDef kScan = {.name = "scan", .arity = -1, .deriv = Structural{}};

inline Id add_input(Graph& graph, Type type, std::string name = {}) {
  const Id id = static_cast<Id>(graph.values.size());
  graph.values.push_back(
      {std::move(type), -1, static_cast<std::int32_t>(graph.inputs.size()), std::move(name)});
  graph.inputs.push_back(id);
  return id;
}

inline std::vector<Id> add_node(Graph& graph, const OpDef& op, std::vector<Id> in,
                                const std::vector<Type>& out, Attrs attrs = {}) {
  Node node{&op, std::move(in), {}, std::move(attrs), {}};
  for (std::size_t i = 0; i < out.size(); ++i) {
    node.out.push_back(static_cast<Id>(graph.values.size()));
    graph.values.push_back(
        {out[i], static_cast<std::int32_t>(graph.nodes.size()), static_cast<std::int32_t>(i), {}});
  }
  graph.nodes.push_back(std::move(node));
  return graph.nodes.back().out;
}

// carry' = carry + x, y = carry: over n slices of xs.
inline Graph prefix_sums(std::int64_t n) {
  const Type row{DType::f32, {2}};
  auto body = std::make_shared<Graph>();
  const Id carry = add_input(*body, row, "carry");
  const Id x = add_input(*body, row, "x");
  body->outputs = {add_node(*body, kAdd, {carry, x}, {row})[0], carry};
  auto region = std::make_shared<Region>();
  region->body = body;
  region->n = n;
  region->num_carry = 1;
  region->num_xs = 1;
  region->policy.keep = Policy::Keep::names;
  region->policy.names = {"g", "h"};
  Graph graph;
  const Type rows{DType::f32, {n, 2}};
  const Id start = add_input(graph, row, "start");
  const Id xs = add_input(graph, rows, "xs");
  Attrs attrs;
  attrs.region = region;
  graph.outputs = add_node(graph, kScan, {start, xs}, {row, rows}, attrs);
  graph.nodes[0].label = "sums";
  return graph;
}

}  // namespace mixflow::toy
