// Derivatives of scan and map that are loops of their own.
//
// scan   The scan gets extra ys: the carries at each iteration's start and the values that the
//        policy keeps. The backward scan runs the other way round. It carries the carries'
//        cotangents, sums those of the constants, and stacks those of the xs. The tangent scan
//        runs the same way round and carries the carries' tangents.
// map    The backward map's sums are the cotangents of the constants, its ys those of the xs. It
//        recomputes the body, which is what makes blocked attention linear in memory at every
//        order, but for the values that the policy keeps: the map gets them as ys. The tangent
//        map's sums and ys are the tangents of the map's.
#include <algorithm>

#include "ops/op_list.h"
#include "transform/differentiate.h"
#include "transform/joint_body.h"
#include "util/index.h"

namespace mixflow {
namespace {

using Kind = Source::Kind;

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

// Carries that depend on an input in `given`, in some iteration, are in the result too.
Mask with_carries(Context& context, const RegionPtr& region, const Mask& given) {
  const RegionReach& reach = context.reach.of_region(op::k_scan, region);
  Mask all = given;
  for (std::size_t k = 0; k < index(region->num_carry); ++k) {
    all[index(region->num_consts) + k] = reach.carry.any(k, given);
  }
  return all;
}

// Per input of a map's node -> per input of its body.
Mask without_sums(const Region& region, Mask mask) {
  const auto first = mask.begin() + region.num_consts;
  mask.erase(first, first + region.num_carry);
  return mask;
}

// Loops that keep what their derivative reads, or what has a name, keep that of their gradients
// too.
JointBody joint_body(Context& context, const Region& region, const Mask& active) {
  const Policy& policy = region.policy;
  const bool by_name = policy.keep == Policy::Keep::names;
  if (policy.keep == Policy::Keep::carries || (by_name && policy.names.empty()) ||
      count_ops(*region.body, op::k_grad) == 0)
    return JointBody(*region.body);
  return JointBody(context, *region.body, active,
                   by_name ? policy.names : std::vector<std::string>());
}

BackwardLoop make_backward_scan(Context& context, const RegionPtr& region, const Mask& given_active,
                                const Mask& given_bars) {
  const RegionReach& reach = context.reach.of_region(op::k_scan, region);
  const std::size_t consts = index(region->num_consts), carry = index(region->num_carry);
  const Mask active = with_carries(context, region, given_active);
  const Mask bars = all_bars(reach, *region, given_bars, active);

  JointBody joint = joint_body(context, *region, active);
  joint.pull(context, bars, active);

  BackwardLoop result;
  DerivativeBody body;
  for (std::size_t k = 0; k < carry; ++k) {
    if (!bars[k]) continue;
    const Id bar = joint.in_derivatives[consts + k];
    result.carries.push_back(static_cast<int>(k));
    body.carried.push_back(joint.out_derivatives[k]);
    body.carries.push_back(bar != kNone ? bar : joint.b.zeros_like(joint.in[consts + k]));
  }
  for (std::size_t i = 0; i < joint.in.size(); ++i) {
    const Id bar = joint.in_derivatives[i];
    if (bar == kNone || (i >= consts && i < consts + carry)) continue;
    if (i < consts) {
      result.sums.push_back(static_cast<int>(i));
      body.carried.push_back(joint.b.input(joint.b.type(joint.in[i])));
      body.carries.push_back(joint.b.add(body.carried.back(), bar));
    } else {
      result.ys.push_back(static_cast<int>(i));
      body.ys.push_back(bar);
    }
  }
  if (body.carries.empty() && body.ys.empty()) return {};
  for (std::size_t j = carry; j < joint.out.size(); ++j) {
    if (bars[j]) {
      body.xs.push_back({joint.out_derivatives[j], {Kind::derivative, static_cast<int>(j)}});
    }
  }
  static_cast<DerivedLoop&>(result) =
      derived_loop(op::k_scan, region, joint, body, !region->reverse);
  return result;
}

BackwardLoop make_backward_map(Context& context, const RegionPtr& region, const Mask& given_active,
                               const Mask& bars) {
  const std::size_t consts = index(region->num_consts), sums = index(region->num_carry);
  const Mask active = without_sums(*region, given_active);
  JointBody joint = joint_body(context, *region, active);
  joint.pull(context, bars, active);

  BackwardLoop result;
  DerivativeBody body;
  for (std::size_t i = 0; i < joint.in.size(); ++i) {
    const Id bar = joint.in_derivatives[i];
    if (bar == kNone) continue;
    const int input = static_cast<int>(i < consts ? i : i + sums);
    (i < consts ? result.sums : result.ys).push_back(input);
    (i < consts ? body.carries : body.ys).push_back(bar);
  }
  if (body.carries.empty() && body.ys.empty()) return {};
  for (std::size_t j = 0; j < joint.out.size(); ++j) {
    if (!bars[j]) continue;
    (j < sums ? body.consts : body.xs)
        .push_back({joint.out_derivatives[j], {Kind::derivative, static_cast<int>(j)}});
  }
  static_cast<DerivedLoop&>(result) = derived_loop(op::k_map, region, joint, body, false);
  return result;
}

TangentLoop make_tangent_scan(Context& context, const RegionPtr& region, const Mask& given) {
  const std::size_t consts = index(region->num_consts), carry = index(region->num_carry);
  const Mask dots = with_carries(context, region, given);
  JointBody joint(*region->body);
  joint.push(context, *region->body, dots);

  TangentLoop result;
  DerivativeBody body;
  for (std::size_t i = 0; i < joint.in.size(); ++i) {
    if (!dots[i]) continue;
    const Id dot = joint.in_derivatives[i];
    const Feed feed{dot, {Kind::derivative, static_cast<int>(i)}};
    if (i < consts) {
      body.consts.push_back(feed);
    } else if (i >= consts + carry) {
      body.xs.push_back(feed);
    } else {
      const std::size_t k = i - consts;
      const Id next = joint.out_derivatives[k];
      result.carries.push_back(static_cast<int>(k));
      body.carried.push_back(dot);
      body.carries.push_back(next != kNone ? next : joint.b.zeros_like(joint.in[i]));
    }
  }
  for (std::size_t j = carry; j < joint.out.size(); ++j) {
    if (joint.out_derivatives[j] == kNone) continue;
    result.ys.push_back(static_cast<int>(j));
    body.ys.push_back(joint.out_derivatives[j]);
  }
  if (body.carries.empty() && body.ys.empty()) return {};
  static_cast<DerivedLoop&>(result) =
      derived_loop(op::k_scan, region, joint, body, region->reverse);
  return result;
}

TangentLoop make_tangent_map(Context& context, const RegionPtr& region, const Mask& given) {
  const std::size_t consts = index(region->num_consts), sums = index(region->num_carry);
  const Mask dots = without_sums(*region, given);
  JointBody joint(*region->body);
  joint.push(context, *region->body, dots);

  TangentLoop result;
  DerivativeBody body;
  for (std::size_t j = 0; j < joint.out.size(); ++j) {
    const Id dot = joint.out_derivatives[j];
    if (dot == kNone) continue;
    (j < sums ? result.carries : result.ys).push_back(static_cast<int>(j));
    (j < sums ? body.carries : body.ys).push_back(dot);
  }
  if (body.carries.empty() && body.ys.empty()) return {};
  for (std::size_t i = 0; i < joint.in.size(); ++i) {
    if (!dots[i]) continue;
    const int input = static_cast<int>(i < consts ? i : i + sums);
    (i < consts ? body.consts : body.xs)
        .push_back({joint.in_derivatives[i], {Kind::derivative, input}});
  }
  static_cast<DerivedLoop&>(result) = derived_loop(op::k_map, region, joint, body, false);
  return result;
}

}  // namespace

const BackwardLoop& backward_loop(Context& context, const OpDef& op, const RegionPtr& region,
                                  const Mask& active, const Mask& bars) {
  const auto key = std::tuple(region, active, bars);
  if (const auto known = context.backward_loops.find(key); known != context.backward_loops.end()) {
    return known->second;
  }
  const auto make = &op == &op::k_map ? make_backward_map : make_backward_scan;
  return context.backward_loops.emplace(key, make(context, region, active, bars)).first->second;
}

const TangentLoop& tangent_loop(Context& context, const OpDef& op, const RegionPtr& region,
                                const Mask& dots) {
  const auto key = std::pair(region, dots);
  if (const auto known = context.tangent_loops.find(key); known != context.tangent_loops.end()) {
    return known->second;
  }
  const auto make = &op == &op::k_map ? make_tangent_map : make_tangent_scan;
  return context.tangent_loops.emplace(key, make(context, region, dots)).first->second;
}

}  // namespace mixflow
