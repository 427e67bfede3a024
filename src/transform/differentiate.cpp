#include "transform/differentiate.h"

#include <algorithm>

#include "transform/rebuild.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {}  // namespace

Ids emit_derived(Builder& builder, std::int32_t node, const DerivedLoop& derived,
                 std::span<const Id> carried, std::span<const Id> derivatives) {
  if (derived.extended) builder.extend_loop(node, derived.extended);
  const Node loop = builder.graph().nodes[index(node)];  // a copy: the graph grows
  Ids args;
  const auto append = [&](const std::vector<Source>& sources) {
    for (const Source& source : sources) {
      switch (source.kind) {
        case Source::Kind::input:
          args.push_back(loop.in[index(source.index)]);
          break;
        case Source::Kind::output:
          args.push_back(loop.out[index(source.index)]);
          break;
        case Source::Kind::derivative:
          args.push_back(derivatives[index(source.index)]);
          break;
      }
    }
  };
  append(derived.consts);
  args.insert(args.end(), carried.begin(), carried.end());
  append(derived.xs);
  return builder.emit_region(*loop.op, args, derived.region);
}

Ids append_node(Builder& builder, const Node& node, std::span<const Id> in) {
  if (node.attrs.region) return builder.emit_region(*node.op, in, node.attrs.region);
  return {builder.emit(*node.op, in, node.attrs)};
}

GraphPtr cut(const Graph& graph, std::span<const Id> inputs, std::span<const Id> outputs) {
  Mask given(graph.values.size(), false), live(graph.values.size(), false);
  for (Id id : inputs) given[index(id)] = true;
  for (Id id : outputs) live[index(id)] = true;
  const auto needed = [&](const Node& node) {
    return std::ranges::any_of(node.out,
                               [&](Id id) { return live[index(id)] && !given[index(id)]; });
  };
  for (std::size_t i = graph.nodes.size(); i-- > 0;) {
    if (!needed(graph.nodes[i])) continue;
    for (Id id : graph.nodes[i].in) live[index(id)] = true;
  }
  Builder b;
  Ids map(graph.values.size(), kNone);
  for (Id id : inputs) map[index(id)] = b.input(graph.type(id), graph.values[index(id)].name);
  const auto mapped = [&](std::span<const Id> ids) {
    Ids result;
    for (Id id : ids) {
      MIXFLOW_CHECK(map[index(id)] != kNone,
                    "cut: %" + std::to_string(id) + " is above the inputs");
      result.push_back(map[index(id)]);
    }
    return result;
  };
  for (const Node& node : graph.nodes) {
    if (!needed(node)) continue;
    b.set_label(node.label);
    const Ids out = append_node(b, node, mapped(node.in));
    for (std::size_t i = 0; i < node.out.size(); ++i) {
      if (!given[index(node.out[i])]) map[index(node.out[i])] = out[i];
    }
  }
  return b.finish(mapped(outputs));
}

Mask used_inputs(const Graph& graph) {
  Mask used(graph.values.size(), false);
  for (const Node& node : graph.nodes) {
    for (Id id : node.in) used[index(id)] = true;
  }
  for (Id id : graph.outputs) used[index(id)] = true;
  return pick(used, graph.inputs);
}

std::string derived_label(const std::string& label, std::string_view suffix) {
  return label.empty() ? std::string(suffix) : label + " " + std::string(suffix);
}

}  // namespace mixflow
