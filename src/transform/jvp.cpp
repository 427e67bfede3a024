// Forward mode: one walk, each value with its tangent or none. A loop's jvp is a loop over the jvp
// of its body, or, where the primal values are at hand, a loop over its body's tangents.
#include <algorithm>
#include <variant>

#include "ops/op_list.h"
#include "transform/differentiate.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

// Tangent of a primitive. At least one input has one.
struct PushforwardRule {
  Builder& b;
  const Call& call;
  std::span<const Id> tangents;

  Id operator()(const NonDiff&) const { return kNone; }

  Id operator()(const Elementwise& rule) const {
    Id sum = kNone;
    for (std::size_t i = 0; i < tangents.size(); ++i) {
      if (tangents[i] == kNone) continue;
      const Id partial = rule.partial(b, call, static_cast<int>(i));
      if (partial == kNone || b.is_full(partial, 0)) continue;
      const Id term = b.mul(partial, tangents[i]);
      sum = sum == kNone ? term : b.add(sum, term);
    }
    return sum;
  }

  // An input without a tangent is a zero only for a joint op (concat, pad); an index is not a
  // variable at all.
  Id operator()(const Linear&) const {
    Ids in(tangents.begin(), tangents.end());
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (in[i] != kNone) continue;
      in[i] = is_float(b.dtype(call.in[i])) ? b.zeros_like(call.in[i]) : call.in[i];
    }
    return b.emit(call.op, in, call.attrs);
  }

  Id operator()(const Bilinear&) const {
    Id sum = kNone;
    for (std::size_t i = 0; i < 2; ++i) {
      if (tangents[i] == kNone) continue;
      Ids in(call.in.begin(), call.in.end());
      in[i] = tangents[i];
      const Id term = b.emit(call.op, in, call.attrs);
      sum = sum == kNone ? term : b.add(sum, term);
    }
    return sum;
  }

  Id operator()(const Explicit& rule) const { return rule.jvp(b, call, tangents); }

  Id operator()(const Structural&) const {
    MIXFLOW_CHECK(false, std::string(call.op.name) + " cannot be differentiated");
  }
};

// Loops: either one loop computes primal values and tangents, or the primal loop stays as it is,
// but for what it keeps, and another one computes the tangents.
enum class Loops : std::uint8_t { joint, apart };

class Jvp {
 public:
  Jvp(Context& context, Builder& builder, const Graph& graph, Loops loops)
      : context_(context),
        b_(builder),
        graph_(graph),
        loops_(loops),
        primal_(graph.values.size(), kNone),
        tangent_(graph.values.size(), kNone) {}

  void bind(std::size_t input, Id primal, Id tangent) {
    primal_[index(graph_.inputs[input])] = primal;
    tangent_[index(graph_.inputs[input])] = tangent;
  }
  void run() {
    for (const Node& node : graph_.nodes) emit(node);
  }
  Id primal(Id id) const { return primal_[index(id)]; }
  Id tangent(Id id) const { return tangent_[index(id)]; }

 private:
  void emit(const Node& node) {
    Ids in, dots;
    for (Id id : node.in) {
      in.push_back(primal(id));
      dots.push_back(tangent(id));
    }
    b_.set_label(node.label);
    const bool loop = node.op == &op::k_scan || node.op == &op::k_map;
    const bool plain = std::ranges::all_of(dots, [](Id id) { return id == kNone; });
    if (plain || !node.attrs.region) {
      const Ids out = append_node(b_, node, in);
      for (std::size_t j = 0; j < node.out.size(); ++j) set(node.out[j], out[j], kNone);
      if (plain || !is_float(b_.dtype(out[0]))) return;
      b_.set_label(derived_label(node.label, "dot"));
      const Call call{*node.op, in, out[0], node.attrs};
      set(node.out[0], out[0], std::visit(PushforwardRule{b_, call, dots}, node.op->deriv));
    } else if (loop && loops_ == Loops::apart) {
      emit_apart(node, in, dots);
    } else if (node.op == &op::k_scan) {
      emit_scan(node, in, dots);
    } else if (node.op == &op::k_map) {
      emit_map(node, in, dots);
    } else {
      MIXFLOW_CHECK(node.op == &op::k_grad,
                    std::string(node.op->name) + " cannot be differentiated");
      emit_grad(node, in, dots);
    }
  }

  void set(Id id, Id value, Id dot) {
    primal_[index(id)] = value;
    tangent_[index(id)] = dot != kNone && b_.is_full(dot, 0) ? kNone : dot;
  }

  static Mask present(const Ids& ids) {
    Mask mask;
    for (Id id : ids) mask.push_back(id != kNone);
    return mask;
  }

  // primals, then the tangents that `mask` asks for; zeros where there is none.
  void append_group(Ids& args, std::span<const Id> in, std::span<const Id> dots, const Mask& mask,
                    std::size_t mask_offset) {
    args.insert(args.end(), in.begin(), in.end());
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (!mask[mask_offset + i]) continue;
      args.push_back(dots[i] != kNone ? dots[i] : b_.zeros_like(in[i]));
    }
  }

  // Takes outputs primals | tangents of outputs [first, last) from `out` at `next`.
  void take_group(const Node& node, const Ids& out, std::size_t& next, std::size_t first,
                  std::size_t last, const Mask& mask) {
    const std::size_t primals = next;
    next += last - first;
    for (std::size_t j = first; j < last; ++j) {
      set(node.out[j], out[primals + j - first], mask[j] ? out[next] : kNone);
      if (mask[j]) ++next;
    }
  }

  // The region's jvp; `in`: per input of its body.
  const JvpRegion& region_jvp(const RegionPtr& old, Mask in, bool carries_have_tangents) {
    const auto key = std::pair(old, in);
    if (const auto known = context_.jvp_regions.find(key); known != context_.jvp_regions.end()) {
      return known->second;
    }
    const int outputs = static_cast<int>(old->body->outputs.size());
    const int body_carry = carries_have_tangents ? old->num_carry : 0;
    const std::size_t consts = index(old->num_consts);
    Groups groups{{old->num_consts, body_carry, old->num_xs},
                  {old->num_carry, outputs - old->num_carry}};
    Mask forced(index(outputs), false);
    for (std::size_t k = 0; k < index(body_carry); ++k) forced[k] = in[consts + k];
    JvpResult body = jvp_graph(context_, *old->body, in, forced, groups);
    const auto count = [](const Mask& mask, std::size_t first, std::size_t size) {
      const auto begin = mask.begin() + static_cast<std::ptrdiff_t>(first);
      return static_cast<int>(std::count(begin, begin + static_cast<std::ptrdiff_t>(size), true));
    };
    auto region = std::make_shared<Region>(*old);
    region->body = std::move(body.graph);
    region->num_consts += count(in, 0, consts);
    region->num_carry += count(body.out_nonzero, 0, index(old->num_carry));
    region->num_xs += count(in, consts + index(body_carry), index(old->num_xs));
    JvpRegion result{std::move(region), std::move(in), std::move(body.out_nonzero)};
    return context_.jvp_regions.emplace(key, std::move(result)).first->second;
  }

  // The loop as it is in the builder, with what its tangents read, and the loop of these.
  void emit_apart(const Node& node, const Ids& in, const Ids& dots) {
    const Ids out = append_node(b_, node, in);
    Ids out_dots(out.size(), kNone);
    const std::size_t consts = index(node.attrs.region->num_consts);
    const bool map = node.op == &op::k_map;
    for (std::size_t j = 0; map && j < index(node.attrs.region->num_carry); ++j) {
      out_dots[j] = dots[consts + j];  // of init + s[0] + s[1] + ..., should the rest have none
    }
    const TangentLoop& loop = tangent_loop(context_, *node.op, node.attrs.region, present(dots));
    if (loop.region) {
      Ids carried;
      for (const int k : loop.carries) {
        const Id dot = dots[consts + index(k)];
        carried.push_back(dot != kNone ? dot : b_.zeros_like(out[index(k)]));
      }
      const std::int32_t position = b_.graph().values[index(out[0])].node;
      const Ids tangents = emit_derived(b_, position, loop, carried, dots);
      std::size_t next = 0;
      for (const int k : loop.carries) out_dots[index(k)] = tangents[next++];
      for (const int j : loop.ys) out_dots[index(j)] = tangents[next++];
    }
    for (std::size_t j = 0; j < node.out.size(); ++j) set(node.out[j], out[j], out_dots[j]);
  }

  void emit_scan(const Node& node, const Ids& in, const Ids& dots) {
    const RegionPtr& old = node.attrs.region;
    const std::size_t consts = index(old->num_consts), carry = index(old->num_carry);
    Mask nonzero = present(dots);
    const Mask given = nonzero;
    const RegionReach& reach = context_.reach.of_region(*node.op, old);
    for (std::size_t k = 0; k < carry; ++k) nonzero[consts + k] = reach.carry.any(k, given);
    const JvpRegion& region = region_jvp(old, nonzero, true);
    const std::span<const Id> ins(in), all(dots);
    Ids args;
    append_group(args, ins.first(consts), all.first(consts), nonzero, 0);
    append_group(args, ins.subspan(consts, carry), all.subspan(consts, carry), nonzero, consts);
    append_group(args, ins.subspan(consts + carry), all.subspan(consts + carry), nonzero,
                 consts + carry);
    const Ids out = b_.emit_region(*node.op, args, region.region);
    std::size_t next = 0;
    take_group(node, out, next, 0, carry, region.out);
    take_group(node, out, next, carry, node.out.size(), region.out);
  }

  // The tangent of init + s[0] + s[1] + ... is a sum of the same kind.
  void emit_map(const Node& node, const Ids& in, const Ids& dots) {
    const RegionPtr& old = node.attrs.region;
    const std::size_t consts = index(old->num_consts), carry = index(old->num_carry);
    const std::span<const Id> ins(in), all(dots);
    Mask body = present(dots);
    body.erase(body.begin() + old->num_consts, body.begin() + old->num_consts + old->num_carry);
    if (!any(body)) {
      const Ids out = append_node(b_, node, in);
      for (std::size_t j = 0; j < out.size(); ++j) {
        set(node.out[j], out[j], j < carry ? dots[consts + j] : kNone);
      }
      return;
    }
    const JvpRegion& region = region_jvp(old, body, false);
    Ids args;
    append_group(args, ins.first(consts), all.first(consts), body, 0);
    append_group(args, ins.subspan(consts, carry), all.subspan(consts, carry), region.out, 0);
    append_group(args, ins.subspan(consts + carry), all.subspan(consts + carry), body, consts);
    const Ids out = b_.emit_region(*node.op, args, region.region);
    std::size_t next = 0;
    take_group(node, out, next, 0, carry, region.out);
    take_group(node, out, next, carry, node.out.size(), region.out);
    for (std::size_t j = 0; j < carry; ++j) {
      if (!region.out[j]) set(node.out[j], primal(node.out[j]), dots[consts + j]);
    }
  }

  // jvp of the value-and-gradient graph, inlined: from here on the gradient is not symbolic any
  // more, so that primal and tangent share one forward pass. A first-order gradient stays a
  // symbolic constant.
  void emit_grad(const Node& node, const Ids& in, const Ids& dots) {
    const Region& region = *node.attrs.region;
    const std::size_t thetas = index(region.num_carry);
    const bool constant = region.grad_mode == GradMode::first_order;
    const Mask nonzero = present(dots);
    const int inputs = static_cast<int>(in.size());
    GraphPtr value = region.body;
    if (!constant) {
      Mask wanted(in.size(), false);
      std::fill_n(wanted.begin(), thetas, true);
      value = gradient_graph(context_, *region.body, wanted, true);
    }
    const int outputs = static_cast<int>(value->outputs.size());
    const JvpResult result = jvp_graph(context_, *value, nonzero, {}, {{inputs}, {outputs}});
    Ids args;
    append_group(args, in, dots, nonzero, 0);
    const Ids out = b_.inline_graph(*result.graph, args);
    std::size_t next = 0;
    take_group(node, out, next, 0, index(outputs), result.out_nonzero);
    if (!constant) return;
    b_.set_label(node.label);
    const Ids kept = append_node(b_, node, in);
    for (std::size_t j = 1; j < node.out.size(); ++j) set(node.out[j], kept[j], kNone);
  }

  Context& context_;
  Builder& b_;
  const Graph& graph_;
  const Loops loops_;
  Ids primal_, tangent_;
};

}  // namespace

JvpResult jvp_graph(Context& context, const Graph& graph, const Mask& nonzero, const Mask& forced,
                    const Groups& groups) {
  Builder b;
  Jvp walk(context, b, graph, Loops::joint);
  std::size_t first = 0;
  for (const int size : groups.in) {
    const std::size_t last = first + index(size);
    Ids primals, tangents;
    for (std::size_t i = first; i < last; ++i) {
      const Value& value = graph.values[index(graph.inputs[i])];
      primals.push_back(b.input(value.type, value.name));
    }
    for (std::size_t i = first; i < last; ++i) {
      const Value& value = graph.values[index(graph.inputs[i])];
      MIXFLOW_CHECK(!nonzero[i] || is_float(value.type.dtype), "jvp: an i32 input has no tangent");
      const Id tangent =
          nonzero[i] ? b.input(value.type, value.name.empty() ? "" : value.name + " dot") : kNone;
      walk.bind(i, primals[i - first], tangent);
    }
    first = last;
  }
  MIXFLOW_CHECK(first == graph.inputs.size(), "jvp: groups do not cover the inputs");
  walk.run();
  b.set_label({});

  JvpResult result;
  Ids outputs;
  first = 0;
  for (const int size : groups.out) {
    const std::size_t last = first + index(size);
    for (std::size_t j = first; j < last; ++j) outputs.push_back(walk.primal(graph.outputs[j]));
    for (std::size_t j = first; j < last; ++j) {
      Id dot = walk.tangent(graph.outputs[j]);
      if (dot == kNone && !forced.empty() && forced[j]) {
        dot = b.zeros_like(walk.primal(graph.outputs[j]));
      }
      result.out_nonzero.push_back(dot != kNone);
      if (dot != kNone) outputs.push_back(dot);
    }
    first = last;
  }
  MIXFLOW_CHECK(first == graph.outputs.size(), "jvp: groups do not cover the outputs");
  result.graph = b.finish(std::move(outputs));
  return result;
}

Ids pushforward(Context& context, Builder& builder, const Graph& graph, std::span<const Id> in,
                std::span<const Id> dots) {
  const LabelGuard label(builder);
  Jvp walk(context, builder, graph, Loops::apart);
  for (std::size_t i = 0; i < in.size(); ++i) walk.bind(i, in[i], dots[i]);
  walk.run();
  Ids result;
  for (const Id id : graph.outputs) result.push_back(walk.tangent(id));
  return result;
}

Ids pushforward(Builder& builder, const Graph& graph, std::span<const Id> in,
                std::span<const Id> dots) {
  MIXFLOW_CHECK(in.size() == graph.inputs.size() && in.size() == dots.size(),
                "pushforward needs one value and one tangent (or kNone) per input");
  Context context;
  return pushforward(context, builder, graph, in, dots);
}

JvpResult jvp(const Graph& graph, const Mask& nonzero) {
  MIXFLOW_CHECK(nonzero.size() == graph.inputs.size(), "jvp needs one bit per input");
  Context context;
  const int inputs = static_cast<int>(graph.inputs.size());
  const int outputs = static_cast<int>(graph.outputs.size());
  JvpResult result = jvp_graph(context, graph, nonzero, {}, {{inputs}, {outputs}});
  result.graph = dce(*result.graph);
  return result;
}

}  // namespace mixflow
