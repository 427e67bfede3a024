#include "transform/joint_body.h"

#include <algorithm>

#include "ops/op_list.h"
#include "transform/partition.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

using Kind = Source::Kind;

bool is_mixed_grad(const Node& node) {
  return node.op == &op::k_grad && node.attrs.region->grad_mode == GradMode::mixed;
}

// The derivative's body, its inputs consts | carried | xs. Consts and xs that it does not read are
// dropped from the lists.
GraphPtr cut_derivative(const Graph& joint, std::vector<Feed>& consts, const Ids& carried,
                        std::vector<Feed>& xs, const Ids& outputs) {
  Ids inputs;
  for (const Feed& feed : consts) inputs.push_back(feed.id);
  inputs.insert(inputs.end(), carried.begin(), carried.end());
  for (const Feed& feed : xs) inputs.push_back(feed.id);
  const GraphPtr whole = dce(*cut(joint, inputs, outputs));
  const Mask used = used_inputs(*whole);
  Ids kept;
  std::size_t position = 0;
  const auto keep_used = [&](std::vector<Feed>& feeds) {
    std::vector<Feed> left;
    for (const Feed& feed : feeds) {
      if (used[position]) left.push_back(feed);
      if (used[position]) kept.push_back(whole->inputs[position]);
      ++position;
    }
    feeds = std::move(left);
  };
  keep_used(consts);
  for (std::size_t i = 0; i < carried.size(); ++i) kept.push_back(whole->inputs[position++]);
  keep_used(xs);
  return cut(*whole, kept, whole->outputs);
}

std::vector<Source> sources(const std::vector<Feed>& feeds) {
  std::vector<Source> result;
  for (const Feed& feed : feeds) result.push_back(feed.source);
  return result;
}

// The policy for a further derivative: values named in the loop are xs of this one.
Policy derived_policy(const Policy& policy) {
  const bool by_name = policy.keep == Policy::Keep::names;
  return {by_name ? Policy::Keep::carries : policy.keep, {}};
}

// The loop extended by ys for those feeds whose source is an output it has not got yet.
RegionPtr extended(const JointBody& joint, const RegionPtr& old, std::vector<Feed>& feeds) {
  Ids outputs = joint.out;
  bool saved = false;  // more than inputs of the body
  for (Feed& feed : feeds) {
    if (feed.source.kind != Kind::output) continue;
    const auto first_y = outputs.begin() + old->num_carry;
    const auto place = std::find(first_y, outputs.end(), feed.id);
    feed.source.index = static_cast<int>(place - outputs.begin());
    if (place != outputs.end()) continue;
    outputs.push_back(feed.id);
    saved |= joint.b.graph().producer(feed.id) != nullptr;
  }
  if (outputs.size() == joint.out.size()) return nullptr;
  auto region = std::make_shared<Region>(*old);
  if (saved) {
    region->body = dce(*cut(joint.b.graph(), joint.in, outputs));
  } else {
    auto body = std::make_shared<Graph>(*old->body);
    for (std::size_t j = joint.out.size(); j < outputs.size(); ++j) {
      const Value& value = joint.b.graph().values[index(outputs[j])];
      body->outputs.push_back(body->inputs[index(value.index)]);
    }
    region->body = std::move(body);
  }
  return region;
}

}  // namespace

JointBody::JointBody(const Graph& body) {
  in = declare_inputs(b, body);
  out = b.inline_graph(body, in);
  forward_nodes = b.graph().nodes.size();
}

JointBody::JointBody(Context& context, const Graph& body, const Mask& active,
                     const std::vector<std::string>& names) {
  in = declare_inputs(b, body);
  BitRows varied(body.values.size(), 1);
  Ids map(body.values.size(), kNone);
  for (std::size_t i = 0; i < in.size(); ++i) {
    map[index(body.inputs[i])] = in[i];
    if (active[i]) varied.set(index(body.inputs[i]), 0);
  }
  context.reach.propagate(body, varied);
  for (const Node& node : body.nodes) {
    Ids args;
    for (const Id id : node.in) args.push_back(map[index(id)]);
    b.set_label(node.label);
    KeptGradient kept;
    if (is_mixed_grad(node)) {
      for (std::size_t i = 0; i < node.in.size(); ++i) {
        // A second-order pass that computes all but named values again has the rest's gradients.
        const bool active_rest = names.empty() && varied.get(index(node.in[i]), 0);
        kept.wanted.push_back(i < index(node.attrs.region->num_carry) || active_rest);
      }
      const Region& region = *node.attrs.region;
      if (names.empty()) {
        kept.graph = differentiated_gradient(context, region, kept.wanted);
      } else {
        auto [graph, found] = named_gradient(context, *region.body, kept.wanted, true, names);
        if (!found.empty()) kept.graph = std::move(graph);
        kept.names = std::move(found);
      }
      if (kept.graph) kept.out = b.inline_graph(*kept.graph, args);
    }
    const std::size_t nodes = b.graph().nodes.size();
    const Ids results = append_node(b, node, args);
    for (std::size_t j = 0; j < results.size(); ++j) map[index(node.out[j])] = results[j];
    // A grad node that was there already stands in another one's loss, above what is kept.
    if (!kept.graph || b.graph().nodes.size() == nodes) continue;
    kept.node_out = results;
    gradients_.push_back(std::move(kept));
  }
  b.set_label({});
  for (const Id id : body.outputs) out.push_back(map[index(id)]);
  forward_nodes = b.graph().nodes.size();
}

void JointBody::pull(Context& context, const Mask& bars, const Mask& wanted) {
  for (std::size_t j = 0; j < out.size(); ++j) {
    out_derivatives.push_back(bars[j] ? b.input(b.type(out[j])) : kNone);
  }
  Ids xs;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (wanted[i]) xs.push_back(in[i]);
  }
  const Ids pulled = pullback(context, b, out, out_derivatives, xs, gradients_);
  std::size_t next = 0;
  for (std::size_t i = 0; i < in.size(); ++i) {
    in_derivatives.push_back(wanted[i] ? pulled[next++] : kNone);
  }
  // From here on the gradients are those kept: their grad nodes have told what depends on them.
  Ids from, to;
  for (const KeptGradient& kept : gradients_) {
    for (std::size_t j = 0; j < kept.node_out.size(); ++j) {
      from.push_back(kept.node_out[j]);
      to.push_back(kept.out[j]);
    }
  }
  b.replace(from, to);
  const auto replace = [&](Ids& ids) {
    for (Id& id : ids) {
      const auto place = std::ranges::find(from, id);
      if (place != from.end()) id = to[index(place - from.begin())];
    }
  };
  replace(out);
  replace(in_derivatives);
}

void JointBody::push(Context& context, const Graph& body, const Mask& dots) {
  for (std::size_t i = 0; i < in.size(); ++i) {
    in_derivatives.push_back(dots[i] ? b.input(b.type(in[i])) : kNone);
  }
  out_derivatives = pushforward(context, b, body, in, in_derivatives);
}

DerivedLoop derived_loop(const OpDef& op, const RegionPtr& region, const JointBody& joint,
                         const DerivativeBody& body, bool reverse) {
  const std::size_t consts = index(region->num_consts), carry = index(region->num_carry);
  const bool map = &op == &op::k_map;
  std::vector<Feed> fixed, varying;
  for (std::size_t i = 0; i < joint.in.size(); ++i) {
    // Sums are outputs of a map and inputs of its node, but not of its body.
    const int input = static_cast<int>(map && i >= consts ? i + carry : i);
    const bool carried = !map && i >= consts && i < consts + carry;
    const bool invariant = i < consts || (carried && joint.out[i - consts] == joint.in[i]);
    const Feed feed{joint.in[i], {carried && !invariant ? Kind::output : Kind::input, input}};
    (invariant ? fixed : varying).push_back(feed);
  }
  Ids outputs = body.carries;
  outputs.insert(outputs.end(), body.ys.begin(), body.ys.end());
  Ids invariant;
  for (const Feed& feed : fixed) invariant.push_back(feed.id);
  const Joint split{joint.b.graph(), joint.forward_nodes, invariant, outputs};
  for (const Id id : partition(split, region->policy)) varying.push_back({id, {Kind::output, 0}});
  fixed.insert(fixed.end(), body.consts.begin(), body.consts.end());
  varying.insert(varying.end(), body.xs.begin(), body.xs.end());

  DerivedLoop result;
  auto derived = std::make_shared<Region>();
  derived->body = cut_derivative(joint.b.graph(), fixed, body.carried, varying, outputs);
  derived->n = region->n;
  derived->num_consts = static_cast<int>(fixed.size());
  derived->num_carry = static_cast<int>(body.carries.size());
  derived->num_xs = static_cast<int>(varying.size());
  derived->reverse = reverse;
  derived->policy = derived_policy(region->policy);
  result.extended = extended(joint, region, varying);
  result.region = std::move(derived);
  result.consts = sources(fixed);
  result.xs = sources(varying);
  return result;
}

}  // namespace mixflow
