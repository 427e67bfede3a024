// Backward passes of scan and map. Both start from the joint body: the forward body inlined, then
// pulled back inside the same builder, which splits it by position; no partial evaluation is
// needed.
//
// scan   The forward scan gets extra ys: the carries at each iteration's start and the values that
//        the policy keeps. The backward scan runs the other way round. It carries the carries'
//        cotangents, sums those of the constants, and stacks those of the xs. Its body is what
//        remains of the joint body once the kept values are inputs.
// map    The backward map's sums are the cotangents of the constants, its ys those of the xs. It
//        recomputes the body, which is what makes blocked attention linear in memory at every
//        order, but for the values that the policy keeps: the forward map gets them as ys.
#include <algorithm>

#include "ops/op_list.h"
#include "transform/differentiate.h"
#include "transform/partition.h"
#include "transform/rebuild.h"
#include "util/error.h"

namespace mixflow {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

// An input of the backward body while it is being put together.
struct Feed {
  Id id;  // in the joint body
  Source source;
};

// The joint body of a loop, and the parts of its backward body.
struct JointBody {
  Builder b;
  Ids in, out;            // of the forward body
  Ids out_bars, in_bars;  // kNone: zero
  std::size_t forward_nodes = 0;

  // keep_all: what gradients compute on the way is there to be kept too. The second-order pass of
  // a grad node starts with the same nodes at the same point, but for loops that keep something
  // else where they are differentiated; the builder shares them, and lowering the grad node later
  // shares them again, so that neither loop computes them twice.
  explicit JointBody(const Graph& body, bool keep_all = false) {
    in = declare_inputs(b, body);
    out = b.inline_graph(body, in);
    if (keep_all && count_ops(body, op::k_grad) > 0) b.inline_graph(*lower_grad(body), in);
    forward_nodes = b.graph().nodes.size();
  }

  // Cotangents of the inputs in `wanted`, given those of the outputs in `bars` as new inputs.
  void pull(Context& context, const Mask& bars, const Mask& wanted) {
    for (std::size_t j = 0; j < out.size(); ++j) {
      out_bars.push_back(bars[j] ? b.input(b.type(out[j])) : kNone);
    }
    Ids xs;
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (wanted[i]) xs.push_back(in[i]);
    }
    const Ids pulled = pullback(context, b, out, out_bars, xs);
    std::size_t next = 0;
    for (std::size_t i = 0; i < in.size(); ++i) {
      in_bars.push_back(wanted[i] ? pulled[next++] : kNone);
    }
  }
};

// The backward body, its inputs consts | carried | xs. Consts and xs that it does not read are
// dropped from the lists.
GraphPtr backward_body(const Graph& joint, std::vector<Feed>& consts, const Ids& carried,
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

// The policy for a further derivative: values named in the forward loop are xs of the backward one.
Policy backward_policy(const Policy& policy) {
  const bool by_name = policy.keep == Policy::Keep::names;
  return {by_name ? Policy::Keep::carries : policy.keep, {}};
}

// Outputs of the body that have a cotangent in some iteration: a carry's comes from later
// iterations too.
Mask all_bars(const RegionReach& reach, const Region& region, Mask bars, const Mask& active) {
  const std::size_t consts = index(region.num_consts), carry = index(region.num_carry);
  for (std::size_t k = 0; k < carry; ++k) bars[k] = bars[k] && active[consts + k];
  for (bool grew = true; grew;) {
    grew = false;
    for (std::size_t k = 0; k < carry; ++k) {
      if (bars[k] || !active[consts + k]) continue;
      for (std::size_t j = 0; j < bars.size() && !bars[k]; ++j) {
        bars[k] = bars[j] && reach.body.get(j, consts + k);
      }
      grew |= bars[k];
    }
  }
  return bars;
}

// The loop extended by ys for those feeds whose source is an output it has not got yet.
RegionPtr extended(const JointBody& joint, const RegionPtr& old, std::vector<Feed>& feeds) {
  Ids outputs = joint.out;
  bool saved = false;  // more than inputs of the body
  for (Feed& feed : feeds) {
    if (feed.source.kind != Source::Kind::output) continue;
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

BackwardRegion make_scan(Context& context, const RegionPtr& region, const Mask& given_active,
                         const Mask& given_bars) {
  using Kind = Source::Kind;
  const RegionReach& reach = context.reach.of_region(op::k_scan, region);
  const std::size_t consts = index(region->num_consts), carry = index(region->num_carry);
  const Graph& body = *region->body;
  Mask active = given_active;
  for (std::size_t k = 0; k < carry; ++k) active[consts + k] = reach.carry.any(k, given_active);
  const Mask bars = all_bars(reach, *region, given_bars, active);

  JointBody joint(body, region->policy.keep == Policy::Keep::all);
  joint.pull(context, bars, active);

  BackwardRegion result;
  Ids carried, carry_outputs, y_outputs;
  for (std::size_t k = 0; k < carry; ++k) {
    if (!bars[k]) continue;
    const Id bar = joint.in_bars[consts + k];
    result.carries.push_back(static_cast<int>(k));
    carried.push_back(joint.out_bars[k]);
    carry_outputs.push_back(bar != kNone ? bar : joint.b.zeros_like(joint.in[consts + k]));
  }
  for (std::size_t i = 0; i < joint.in.size(); ++i) {
    const Id bar = joint.in_bars[i];
    if (bar == kNone || (i >= consts && i < consts + carry)) continue;
    if (i < consts) {
      result.sums.push_back(static_cast<int>(i));
      carried.push_back(joint.b.input(joint.b.type(joint.in[i])));
      carry_outputs.push_back(joint.b.add(carried.back(), bar));
    } else {
      result.ys.push_back(static_cast<int>(i));
      y_outputs.push_back(bar);
    }
  }
  if (carried.empty() && y_outputs.empty()) return {};

  std::vector<Feed> fixed, varying;
  for (std::size_t i = 0; i < joint.in.size(); ++i) {
    const bool is_carry = i >= consts && i < consts + carry;
    const bool invariant = i < consts || (is_carry && body.outputs[i - consts] == body.inputs[i]);
    const Feed feed{joint.in[i],
                    {is_carry && !invariant ? Kind::output : Kind::input, static_cast<int>(i)}};
    (invariant ? fixed : varying).push_back(feed);
  }
  Ids outputs = carry_outputs;
  outputs.insert(outputs.end(), y_outputs.begin(), y_outputs.end());
  Ids invariant;
  for (const Feed& feed : fixed) invariant.push_back(feed.id);
  const Joint split{joint.b.graph(), joint.forward_nodes, invariant, outputs};
  for (Id id : partition(split, region->policy)) varying.push_back({id, {Kind::output, 0}});
  for (std::size_t j = carry; j < joint.out.size(); ++j) {
    if (bars[j]) varying.push_back({joint.out_bars[j], {Kind::bar, static_cast<int>(j)}});
  }

  auto backward = std::make_shared<Region>();
  backward->body = backward_body(joint.b.graph(), fixed, carried, varying, outputs);
  backward->n = region->n;
  backward->num_consts = static_cast<int>(fixed.size());
  backward->num_carry = static_cast<int>(carried.size());
  backward->num_xs = static_cast<int>(varying.size());
  backward->reverse = !region->reverse;
  backward->policy = backward_policy(region->policy);
  result.forward = extended(joint, region, varying);
  result.backward = std::move(backward);
  result.consts = sources(fixed);
  result.xs = sources(varying);
  return result;
}

BackwardRegion make_map(Context& context, const RegionPtr& region, const Mask& given_active,
                        const Mask& bars) {
  using Kind = Source::Kind;
  const std::size_t consts = index(region->num_consts), sums = index(region->num_carry);
  Mask active = given_active;
  active.erase(active.begin() + region->num_consts,
               active.begin() + region->num_consts + region->num_carry);
  JointBody joint(*region->body, region->policy.keep == Policy::Keep::all);
  joint.pull(context, bars, active);

  BackwardRegion result;
  Ids outputs;
  std::vector<Feed> fixed, varying;
  for (std::size_t i = 0; i < joint.in.size(); ++i) {
    const int input = static_cast<int>(i < consts ? i : i + sums);
    (i < consts ? fixed : varying).push_back({joint.in[i], {Kind::input, input}});
    if (joint.in_bars[i] == kNone) continue;
    (i < consts ? result.sums : result.ys).push_back(input);
    outputs.push_back(joint.in_bars[i]);
  }
  if (outputs.empty()) return {};
  const std::span<const Id> invariant = std::span(joint.in).first(consts);
  const Joint split{joint.b.graph(), joint.forward_nodes, invariant, outputs};
  for (const Id id : partition(split, region->policy)) varying.push_back({id, {Kind::output, 0}});
  for (std::size_t j = 0; j < joint.out.size(); ++j) {
    if (!bars[j]) continue;
    (j < sums ? fixed : varying).push_back({joint.out_bars[j], {Kind::bar, static_cast<int>(j)}});
  }
  auto backward = std::make_shared<Region>();
  backward->body = backward_body(joint.b.graph(), fixed, {}, varying, outputs);
  backward->n = region->n;
  backward->num_consts = static_cast<int>(fixed.size());
  backward->num_carry = static_cast<int>(result.sums.size());
  backward->num_xs = static_cast<int>(varying.size());
  backward->policy = backward_policy(region->policy);
  result.forward = extended(joint, region, varying);
  result.backward = std::move(backward);
  result.consts = sources(fixed);
  result.xs = sources(varying);
  return result;
}

template <auto kMake>
const BackwardRegion& remembered(Context& context, const RegionPtr& region, const Mask& active,
                                 const Mask& bars) {
  const auto key = std::tuple(region, active, bars);
  if (const auto known = context.backward_regions.find(key);
      known != context.backward_regions.end()) {
    return known->second;
  }
  return context.backward_regions.emplace(key, kMake(context, region, active, bars)).first->second;
}

}  // namespace

const BackwardRegion& backward_scan(Context& context, const RegionPtr& region, const Mask& active,
                                    const Mask& bars) {
  return remembered<make_scan>(context, region, active, bars);
}

const BackwardRegion& backward_map(Context& context, const RegionPtr& region, const Mask& active,
                                   const Mask& bars) {
  return remembered<make_map>(context, region, active, bars);
}

}  // namespace mixflow
