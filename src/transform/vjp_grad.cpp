// The grad node: where mixed mode and reverse mode differ.
//
// With cotangents c_g of g = grad_theta L, the cotangent of w (any theta or other input) is
//   (d^2 L / dw dtheta) c_g.
// The Hessian is symmetric, so that is the tangent of grad_w L along theta_dot = c_g: one jvp of a
// vjp, forward over reverse, for all w at once (MixFlow-MG, arXiv 2505.00793). Only the tangents
// are kept, and with them dead code takes the primal weight gradients. Where the gradient is kept
// (joint_body.h), vjp.cpp appends these tangents to it instead.
#include <algorithm>
#include <memory>

#include "ops/op_list.h"
#include "transform/differentiate.h"
#include "transform/rebuild.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

// Graphs with what their loops keep in a gradient that is differentiated.
class DifferentiatedPolicies {
 public:
  // The graph itself where nothing changes.
  GraphPtr run(const GraphPtr& graph) {
    const auto changes = [&](const Node& node) { return region(node) != node.attrs.region; };
    if (std::ranges::none_of(graph->nodes, changes)) return graph;
    return rebuild(*graph, [&](Builder& b, const Node& node, std::span<const Id> in) {
      return changes(node) ? b.emit_region(*node.op, in, region(node)) : append_node(b, node, in);
    });
  }

 private:
  RegionPtr region(const Node& node) {
    const RegionPtr& old = node.attrs.region;
    if (!old || (node.op != &op::k_scan && node.op != &op::k_map)) return old;
    return regions_.get(old, [&] {
      const GraphPtr body = run(old->body);
      if (body == old->body && !old->policy.differentiated) return old;
      auto changed = std::make_shared<Region>(*old);
      changed->body = body;
      changed->policy.keep = old->policy.differentiated.value_or(old->policy.keep);
      return RegionPtr(std::move(changed));
    });
  }

  RegionCache regions_;
};

BackwardGrad make_grad(Context& context, const RegionPtr& region, const Mask& active,
                       const Mask& bars, std::span<const std::string> names) {
  const GraphPtr kept = DifferentiatedPolicies().run(region->body);
  const Graph& loss = *kept;
  const std::size_t inputs = loss.inputs.size(), thetas = index(region->num_carry);
  BackwardGrad result;
  Mask directions(inputs, false);
  for (std::size_t k = 0; k < thetas; ++k) {
    directions[k] = region->grad_mode == GradMode::mixed && bars[1 + k];
  }
  result.second_order = any(directions);
  // The gradient with respect to theta is at hand: it is what the node returns, unless what it
  // returns is a constant to a further derivative.
  const std::size_t at_hand = region->grad_mode == GradMode::mixed ? thetas : 0;
  Mask wanted = active;
  if (!result.second_order) std::fill_n(wanted.begin(), at_hand, false);
  if (!any(wanted) || !(result.second_order || bars[0])) return {};

  // What is called by a name there is the same value only if no theta is missing here.
  if (std::find(wanted.begin(), wanted.begin() + static_cast<std::ptrdiff_t>(thetas), false) !=
      wanted.begin() + static_cast<std::ptrdiff_t>(thetas))
    names = {};
  const auto [gradient, found] = named_gradient(context, loss, wanted, false, names);
  for (const std::string& name : found)
    result.named.push_back(index(std::ranges::find(names, name) - names.begin()));
  std::vector<int> order;
  for (std::size_t i = 0; i < inputs; ++i) {
    if (wanted[i]) order.push_back(static_cast<int>(i));
  }
  const int outputs = static_cast<int>(gradient->outputs.size());
  const JvpResult second =
      jvp_graph(context, *gradient, directions, {}, {{static_cast<int>(inputs)}, {outputs}});
  const Graph& joint = *second.graph;
  Ids results, given = joint.inputs;
  given.insert(given.end(), joint.outputs.begin() + static_cast<std::ptrdiff_t>(order.size()),
               joint.outputs.begin() + outputs);
  std::size_t next = index(outputs);
  for (std::size_t j = 0; j < order.size(); ++j) {
    if (bars[0] && index(order[j]) >= at_hand) {
      results.push_back(joint.outputs[j]);
      result.out.push_back({order[j], true});
    }
    if (second.out_nonzero[j]) {
      results.push_back(joint.outputs[next++]);
      result.out.push_back({order[j], false});
    }
  }
  if (results.empty()) return {};
  result.graph = dce(*cut(joint, given, results));
  return result;
}

}  // namespace

GraphPtr differentiated_gradient(Context& context, const Region& region, const Mask& wanted) {
  return gradient_graph(context, *DifferentiatedPolicies().run(region.body), wanted, true);
}

GraphPtr gradient_graph(Context& context, const Graph& loss, const Mask& wanted, bool with_value) {
  return named_gradient(context, loss, wanted, with_value, {}).graph;
}

NamedGradient named_gradient(Context& context, const Graph& loss, const Mask& wanted,
                             bool with_value, std::span<const std::string> names) {
  Builder b;
  const Ids in = declare_inputs(b, loss);
  const Ids out = b.inline_graph(loss, in);
  Ids xs;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (wanted[i]) xs.push_back(in[i]);
  }
  const Ids seed{b.full_like(out[0], 1)};
  Ids outputs = with_value ? out : Ids{};
  const Ids bars = pullback(context, b, out, seed, xs);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    outputs.push_back(bars[i] != kNone ? bars[i] : b.zeros_like(xs[i]));
  }
  NamedGradient result;
  for (const std::string& name : names) {
    const auto is_called = [&](const Node& node) {
      return node.op == &op::k_named && node.attrs.name == name;
    };
    const std::vector<Node>& nodes = b.graph().nodes;
    if (std::ranges::count_if(nodes, is_called) != 1) continue;
    outputs.push_back(std::ranges::find_if(nodes, is_called)->out[0]);
    result.names.push_back(name);
  }
  result.graph = dce(*b.finish(std::move(outputs)));
  return result;
}

const BackwardGrad& backward_grad(Context& context, const RegionPtr& region, const Mask& active,
                                  const Mask& bars, const std::vector<std::string>& names) {
  const auto key = std::tuple(region, active, bars, names);
  if (const auto known = context.backward_grads.find(key); known != context.backward_grads.end()) {
    return known->second;
  }
  return context.backward_grads.emplace(key, make_grad(context, region, active, bars, names))
      .first->second;
}

}  // namespace mixflow
