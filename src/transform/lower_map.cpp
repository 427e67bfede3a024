#include "transform/lower_map.h"

#include <unordered_map>

#include "ops/builder.h"
#include "ops/op_list.h"

namespace mixflow {
namespace {

class LowerMap {
 public:
  GraphPtr run(const Graph& graph) {
    Builder b;
    Ids ids(graph.values.size(), kNone);
    for (const Id in : graph.inputs) {
      const Value& value = graph.values[static_cast<std::size_t>(in)];
      ids[static_cast<std::size_t>(in)] = b.input(value.type, value.name);
    }
    for (const Node& node : graph.nodes) {
      Ids in;
      for (const Id id : node.in) in.push_back(ids[static_cast<std::size_t>(id)]);
      b.set_label(node.label);
      Ids out;
      if (!region_of(node)) {
        out = {b.emit(*node.op, in, node.attrs)};
      } else if (node.op == &op::k_map) {
        out = b.emit_region(op::k_scan, in, as_scan(node.attrs.region));
      } else {
        out = b.emit_region(*node.op, in, with_lowered_body(node.attrs.region));
      }
      for (std::size_t k = 0; k < out.size(); ++k)
        ids[static_cast<std::size_t>(node.out[k])] = out[k];
    }
    Ids outputs;
    for (const Id id : graph.outputs) outputs.push_back(ids[static_cast<std::size_t>(id)]);
    return b.finish(outputs);
  }

 private:
  using RegionPtr = std::shared_ptr<const Region>;

  RegionPtr with_lowered_body(const RegionPtr& region) {
    RegionPtr& known = done_[region];
    if (!known) {
      auto lowered = std::make_shared<Region>(*region);
      lowered->body = run(*region->body);
      known = lowered;
    }
    return known;
  }

  RegionPtr as_scan(const RegionPtr& region) {
    RegionPtr& known = done_[region];
    if (known) return known;
    const GraphPtr body = run(*region->body);
    Builder b;
    const auto add_input = [&](int i) {
      const Value& value =
          body->values[static_cast<std::size_t>(body->inputs[static_cast<std::size_t>(i)])];
      return b.input(value.type, value.name);
    };
    Ids args;
    for (int i = 0; i < region->num_consts; ++i) args.push_back(add_input(i));
    Ids sums;
    for (int k = 0; k < region->num_carry; ++k) {
      sums.push_back(b.input(body->type(body->outputs[static_cast<std::size_t>(k)]), "sum"));
    }
    for (int i = 0; i < region->num_xs; ++i) args.push_back(add_input(region->num_consts + i));
    Ids outputs = b.inline_graph(*body, args);
    for (std::size_t k = 0; k < sums.size(); ++k) outputs[k] = b.add(sums[k], outputs[k]);
    auto lowered = std::make_shared<Region>(*region);
    lowered->body = b.finish(outputs);
    lowered->parallel = true;
    known = lowered;
    return known;
  }

  std::unordered_map<RegionPtr, RegionPtr> done_;
};

}  // namespace

GraphPtr lower_map(const Graph& graph) { return LowerMap().run(graph); }

}  // namespace mixflow
