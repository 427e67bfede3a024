#include "transform/lower_map.h"

#include <memory>

#include "ops/op_list.h"
#include "transform/rebuild.h"

namespace mixflow {
namespace {

class LowerMap {
 public:
  GraphPtr run(const Graph& graph) {
    return rebuild(graph, [this](Builder& b, const Node& node, std::span<const Id> in) {
      const RegionPtr& old = node.attrs.region;
      if (!old) return Ids{b.emit(*node.op, in, node.attrs)};
      const bool map = node.op == &op::k_map;
      const RegionPtr lowered = regions_.get(old, [&] {
        const GraphPtr body = run(*old->body);
        return map ? as_scan(*old, *body) : with_body(old, body);
      });
      return b.emit_region(map ? op::k_scan : *node.op, in, lowered);
    });
  }

 private:
  // The map's region as a scan's, whose carries are the sums so far.
  static RegionPtr as_scan(const Region& region, const Graph& body) {
    Builder b;
    const auto add_input = [&](int i) {
      const Value& value =
          body.values[static_cast<std::size_t>(body.inputs[static_cast<std::size_t>(i)])];
      return b.input(value.type, value.name);
    };
    Ids args;
    for (int i = 0; i < region.num_consts; ++i) args.push_back(add_input(i));
    Ids sums;
    for (int k = 0; k < region.num_carry; ++k) {
      sums.push_back(b.input(body.type(body.outputs[static_cast<std::size_t>(k)]), "sum"));
    }
    for (int i = 0; i < region.num_xs; ++i) args.push_back(add_input(region.num_consts + i));
    Ids outputs = b.inline_graph(body, args);
    for (std::size_t k = 0; k < sums.size(); ++k) outputs[k] = b.add(sums[k], outputs[k]);
    auto lowered = std::make_shared<Region>(region);
    lowered->body = b.finish(outputs);
    lowered->parallel = true;
    return lowered;
  }

  RegionCache regions_;
};

}  // namespace

GraphPtr lower_map(const Graph& graph) { return LowerMap().run(graph); }

}  // namespace mixflow
