#include "plan/planner.h"

#include <map>
#include <string>

#include "plan/body_planner.h"
#include "plan/last_iteration.h"
#include "util/error.h"

namespace mixflow {

// A body may be asked for several times (by two orders of its parent, at several places): planned
// once per contract.
BodyPtr Planner::plan(const GraphPtr& graph, const std::vector<InputContract>& inputs,
                      const std::vector<OutputContract>& outputs, int threads) {
  std::string key =
      std::to_string(reinterpret_cast<std::uintptr_t>(graph.get())) + "/" + std::to_string(threads);
  for (const InputContract& c : inputs) key += c.donated ? 'd' : '.';
  for (const OutputContract& c : outputs) {
    key += ',' + std::to_string(c.in_place_of) + (c.is_input ? "=" : "") + ':' +
           std::to_string(c.slot_of) + (c.nullable ? "?" : "");
  }
  BodyPtr& known = known_[key];
  if (known) return known;
  BodyPtr best;
  for (const Order order : {Order::trace, Order::greedy}) {
    BodyPtr body = BodyPlanner(*this, graph, inputs, outputs, threads, order).run();
    if (!best || body->workspace_bytes < best->workspace_bytes) best = std::move(body);
    if (!options.share) break;
  }
  known = best;
  return best;
}

GraphPtr Planner::last_iteration(const std::shared_ptr<const Region>& region,
                                 const std::vector<bool>& dead) {
  const auto [known, is_new] = last_iterations_.try_emplace({region, dead});
  if (is_new) known->second = mixflow::last_iteration(*region, dead);
  return known->second;
}

std::shared_ptr<const Kernel> Planner::kernel(const Graph& graph, std::int32_t node, int threads) {
  auto& known = kernels_[{&graph, node, threads}];
  if (!known) {
    known = lower_node(graph, graph.nodes[static_cast<std::size_t>(node)], threads, options.bf16);
  }
  return known;
}

const std::vector<std::uint32_t>& Planner::may_overwrite(const Graph& graph, std::int32_t node) {
  std::vector<std::uint32_t>& known = overwrites_[{&graph, node}];
  if (known.empty()) {
    const Node& n = graph.nodes[static_cast<std::size_t>(node)];
    known = options.share ? overwritable(n) : std::vector<std::uint32_t>(n.out.size(), 0);
  }
  return known;
}

BodyPtr plan_body(const GraphPtr& graph, const std::vector<InputContract>& inputs,
                  const std::vector<OutputContract>& outputs, const PlanOptions& options) {
  MIXFLOW_CHECK(inputs.size() == graph->inputs.size() && outputs.size() == graph->outputs.size(),
                "one contract per input and output");
  return Planner(options).plan(graph, inputs, outputs, options.threads);
}

}  // namespace mixflow
