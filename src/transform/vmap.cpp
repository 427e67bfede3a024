// Every value that depends on a batched input gets a new leading axis, all others stay as they are.
// Which these are is computed first, bits only, with loops by fixpoint; then each body is
// transformed once.
//   scan, map   the batch axis is inside an iteration: xs that are [batch, n, ..] outside become
//               [n, batch, ..] for the loop, and ys are turned back. Carries and sums that become
//               batched start from a batched init.
//   grad        lowered before: a batch of losses is no scalar.
#include <map>
#include <memory>
#include <numeric>
#include <tuple>

#include "ops/op_list.h"
#include "transform/liveness.h"
#include "transform/rebuild.h"
#include "transform/transform.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

// Which values are batched, from which inputs are.
class Batched {
 public:
  Mask values(const Graph& graph, const Mask& inputs) {
    Mask bits(graph.values.size(), false);
    for (std::size_t i = 0; i < inputs.size(); ++i) bits[index(graph.inputs[i])] = inputs[i];
    for (const Node& node : graph.nodes) {
      const Mask in = pick(bits, node.in);
      if (!any(in)) continue;
      const Region* region = region_of(node);
      const Mask out =
          region != nullptr ? node_outputs(*node.op, *region, in) : Mask(node.out.size(), true);
      for (std::size_t i = 0; i < out.size(); ++i) bits[index(node.out[i])] = out[i];
    }
    return bits;
  }

  // Inputs of the body, with carries that become batched.
  Mask body_inputs(const OpDef& op, const Region& region, const Mask& in) {
    const std::size_t consts = index(region.num_consts);
    const std::size_t carry = index(region.num_carry);
    Mask bits = in;
    if (&op == &op::k_map) {
      const auto first = bits.begin() + region.num_consts;
      bits.erase(first, first + region.num_carry);
      return bits;
    }
    for (bool grew = true; grew;) {
      grew = false;
      const Mask out = pick(values(*region.body, bits), region.body->outputs);
      for (std::size_t k = 0; k < carry; ++k) {
        if (!out[k] || bits[consts + k]) continue;
        bits[consts + k] = true;
        grew = true;
      }
    }
    return bits;
  }

  Mask node_outputs(const OpDef& op, const Region& region, const Mask& in) {
    const auto key = std::pair(&region, in);
    if (const auto known = known_.find(key); known != known_.end()) return known->second;
    MIXFLOW_CHECK(&op == &op::k_scan || &op == &op::k_map,
                  "vmap cannot enter " + std::string(op.name));
    const Mask body_in = body_inputs(op, region, in);
    Mask out = pick(values(*region.body, body_in), region.body->outputs);
    for (std::size_t k = 0; k < index(region.num_carry); ++k) {
      if (in[index(region.num_consts) + k]) out[k] = true;
      if (&op == &op::k_scan) out[k] = body_in[index(region.num_consts) + k];
    }
    known_.emplace(key, out);
    return out;
  }

 private:
  std::map<std::pair<const Region*, Mask>, Mask> known_;
};

class Vmap {
 public:
  explicit Vmap(std::int64_t n) : n_(n) {}

  // `wanted` outputs get the leading axis; it includes all that are batched.
  GraphPtr run(const Graph& graph, const Mask& inputs, const Mask& wanted) {
    const Mask bits = batched_.values(graph, inputs);
    Builder b;
    Ids map(graph.values.size(), kNone);
    for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
      const Value& value = graph.values[index(graph.inputs[i])];
      map[index(graph.inputs[i])] =
          b.input(inputs[i] ? stacked(value.type, n_) : value.type, value.name);
    }
    for (const Node& node : graph.nodes) {
      Ids in;
      for (Id id : node.in) in.push_back(map[index(id)]);
      b.set_label(node.label);
      const Ids out = emit(b, node, in, pick(bits, node.in));
      for (std::size_t i = 0; i < out.size(); ++i) map[index(node.out[i])] = out[i];
    }
    b.set_label({});
    Ids outputs;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const Id id = graph.outputs[i];
      outputs.push_back(wanted[i] ? with_batch(b, map[index(id)], bits[index(id)])
                                  : map[index(id)]);
    }
    return b.finish(std::move(outputs));
  }

 private:
  Ids emit(Builder& b, const Node& node, const Ids& in, const Mask& bits) {
    const bool plain = !any(bits);
    if (node.attrs.region) {
      return plain ? b.emit_region(*node.op, in, node.attrs.region) : emit_loop(b, node, in, bits);
    }
    if (plain) return {b.emit(*node.op, in, node.attrs)};
    MIXFLOW_CHECK(node.op->batch != nullptr, std::string(node.op->name) + " has no batching rule");
    return {node.op->batch(b, {*node.op, in, kNone, node.attrs}, in, bits, n_)};
  }

  Ids emit_loop(Builder& b, const Node& node, const Ids& in, const Mask& bits) {
    const RegionPtr& old = node.attrs.region;
    const std::size_t consts = index(old->num_consts);
    const std::size_t carry = index(old->num_carry);
    const Mask out_bits = batched_.node_outputs(*node.op, *old, bits);
    Ids args;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const bool carried = i >= consts && i < consts + carry;
      if (carried && out_bits[i - consts]) {
        args.push_back(with_batch(b, in[i], bits[i]));
      } else if (i >= consts + carry && bits[i]) {
        args.push_back(swap_leading(b, in[i]));
      } else {
        args.push_back(in[i]);
      }
    }
    Ids out = b.emit_region(*node.op, args, region(*node.op, old, bits, out_bits));
    for (std::size_t j = carry; j < out.size(); ++j) {
      if (out_bits[j]) out[j] = swap_leading(b, out[j]);
    }
    return out;
  }

  RegionPtr region(const OpDef& op, const RegionPtr& old, const Mask& in, const Mask& out) {
    RegionPtr& known = done_[std::tuple(old.get(), in)];
    if (!known) {
      auto batched = std::make_shared<Region>(*old);
      batched->body = run(*old->body, batched_.body_inputs(op, *old, in), out);
      known = std::move(batched);
    }
    return known;
  }

  Id with_batch(Builder& b, Id x, bool batched) const {
    return batched ? x : b.broadcast(x, {0}, stacked(b.type(x), n_).shape);
  }

  // [a, b, ..] -> [b, a, ..]
  static Id swap_leading(Builder& b, Id x) {
    Shape axes(b.shape(x).size());
    std::iota(axes.begin(), axes.end(), 0);
    std::swap(axes[0], axes[1]);
    return b.transpose(x, std::move(axes));
  }

  const std::int64_t n_;
  Batched batched_;
  std::map<std::tuple<const Region*, Mask>, RegionPtr> done_;
};

}  // namespace

GraphPtr vmap(const Graph& graph, const Mask& batched, std::int64_t n) {
  MIXFLOW_CHECK(batched.size() == graph.inputs.size(), "vmap needs one bit per input");
  const Mask all(graph.outputs.size(), true);
  if (count_ops(graph, op::k_grad) == 0) return Vmap(n).run(graph, batched, all);
  return Vmap(n).run(*lower_grad(graph), batched, all);
}

}  // namespace mixflow
