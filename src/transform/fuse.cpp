#include "transform/fuse.h"

#include <unordered_map>
#include <utility>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/fuse_group.h"
#include "transform/rebuild.h"
#include "util/index.h"

namespace mixflow {
namespace {

Ids mapped(const Ids& map, const Ids& ids) {
  Ids result;
  for (const Id id : ids) result.push_back(map[index(id)]);
  return result;
}

Ids add_inputs(Builder& builder, const Graph& graph) {
  Ids map(graph.values.size(), kNone);
  for (const Id id : graph.inputs) {
    map[index(id)] = builder.input(graph.type(id), graph.values[index(id)].name);
  }
  return map;
}

// The identity, once nothing is differentiated any more.
bool is_annotation(const OpDef& op) {
  return &op == &op::k_named || &op == &op::k_named_cotangent || &op == &op::k_stop_gradient;
}

// The graph without annotations, with fused bodies.
GraphPtr prepare(const Graph& graph) {
  std::unordered_map<Id, Id> relu_of;  // looked up only
  for (const Node& node : graph.nodes) {
    if (node.op == &op::k_relu) relu_of.emplace(node.in[0], node.out[0]);
  }
  RegionCache regions;
  return rebuild(graph, [&](Builder& b, const Node& node, std::span<const Id> in) {
    const RegionPtr& old = node.attrs.region;
    if (is_annotation(*node.op)) return Ids{in[0]};
    if (node.op == &op::k_step && relu_of.contains(node.in[0])) return Ids{b.step(b.relu(in[0]))};
    if (!old) return Ids{b.emit(*node.op, in, node.attrs)};
    return b.emit_region(*node.op, in,
                         regions.get(old, [&] { return with_body(old, fuse(*old->body)); }));
  });
}

// The nodes of a group as a graph of their own, as they are.
GraphPtr body_of(const Graph& graph, const FuseGroup& group) {
  auto body = std::make_shared<Graph>();
  std::unordered_map<Id, Id> map;
  const auto add = [&](Id id, std::int32_t node, std::size_t position) {
    map[id] = static_cast<Id>(body->values.size());
    body->values.push_back(
        {graph.type(id), node, static_cast<std::int32_t>(position), graph.values[index(id)].name});
    return map[id];
  };
  for (std::size_t i = 0; i < group.inputs.size(); ++i) {
    body->inputs.push_back(add(group.inputs[i], -1, i));
  }
  for (const std::int32_t n : group.nodes) {
    Node node = graph.nodes[index(n)];
    for (Id& id : node.in) id = map.at(id);
    node.out[0] = add(node.out[0], static_cast<std::int32_t>(body->nodes.size()), 0);
    body->nodes.push_back(std::move(node));
  }
  for (const Id id : group.outputs) body->outputs.push_back(map.at(id));
  return body;
}

}  // namespace

GraphPtr fuse(const Graph& source) {
  const GraphPtr graph = prepare(source);
  const FusePlan plan = plan_fusion(*graph);
  Builder builder;
  Ids map = add_inputs(builder, *graph);
  for (const FuseUnit& unit : plan.order) {
    if (unit.group < 0) {
      const Node& node = graph->nodes[index(unit.node)];
      builder.set_label(node.label);
      const Ids in = mapped(map, node.in);
      const Ids out = node.attrs.region != nullptr
                          ? builder.emit_region(*node.op, in, node.attrs.region)
                          : Ids{builder.emit(*node.op, in, node.attrs)};
      for (std::size_t j = 0; j < out.size(); ++j) map[index(node.out[j])] = out[j];
      continue;
    }
    const FuseGroup& group = plan.groups[index(unit.group)];
    builder.set_label(graph->nodes[index(group.nodes.back())].label);
    auto region = std::make_shared<Region>();
    region->body = body_of(*graph, group);
    const Ids out = builder.emit_region(op::k_fused, mapped(map, group.inputs), std::move(region));
    for (std::size_t j = 0; j < out.size(); ++j) map[index(group.outputs[j])] = out[j];
  }
  return builder.finish(mapped(map, graph->outputs));
}

}  // namespace mixflow
