// Reverse mode: one walk backwards over a builder's nodes. Walking the nodes as they were emitted,
// not the source they came from, counts each cotangent once even where the builder has merged equal
// nodes.
#include <algorithm>
#include <variant>

#include "ops/op_list.h"
#include "transform/differentiate.h"
#include "transform/rebuild.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

// Cotangent of input i of a primitive.
struct PullbackRule {
  Builder& b;
  const Call& call;
  int i;
  Id y_bar;

  Id operator()(const NonDiff&) const { return kNone; }
  Id operator()(const Elementwise& rule) const {
    const Id partial = rule.partial(b, call, i);
    return partial == kNone ? kNone : b.mul(y_bar, partial);
  }
  Id operator()(const Linear& rule) const { return rule.transpose(b, call, i, y_bar); }
  Id operator()(const Bilinear& rule) const { return rule.transpose(b, call, i, y_bar); }
  Id operator()(const Explicit& rule) const { return rule.vjp(b, call, i, y_bar); }
  Id operator()(const Structural&) const {
    MIXFLOW_CHECK(false, std::string(call.op.name) + " cannot be differentiated");
  }
};

class Pullback {
 public:
  Pullback(Context& context, Builder& builder, std::span<const KeptGradient> kept)
      : context_(context), b_(builder), kept_(kept) {}

  Ids run(std::span<const Id> ys, std::span<const Id> y_bars, std::span<const Id> xs) {
    const LabelGuard label(b_);
    const std::size_t nodes = b_.graph().nodes.size();
    const std::size_t values = b_.graph().values.size();
    active_ = BitRows(values, 1);
    for (Id x : xs) {
      MIXFLOW_CHECK(is_float(b_.dtype(x)), "an i32 value has no cotangent");
      active_.set(index(x), 0);
    }
    context_.reach.propagate(b_.graph(), active_);
    bars_.assign(values, kNone);
    for (std::size_t j = 0; j < ys.size(); ++j) accumulate(ys[j], y_bars[j]);
    for (std::size_t i = nodes; i-- > 0;) {
      if (has_work(b_.graph().nodes[i])) visit(static_cast<std::int32_t>(i));
    }
    Ids result;
    for (Id x : xs) result.push_back(bars_[index(x)]);
    return result;
  }

 private:
  bool is_active(Id id) const { return active_.get(index(id), 0); }

  bool has_work(const Node& node) const {
    const auto has_bar = [&](Id id) {
      return index(id) < bars_.size() && bars_[index(id)] != kNone;
    };
    return std::ranges::any_of(node.out, has_bar) &&
           std::ranges::any_of(node.in, [&](Id id) { return is_active(id); });
  }

  void accumulate(Id id, Id bar) {
    if (bar == kNone || !is_active(id) || b_.is_full(bar, 0)) return;
    Id& sum = bars_[index(id)];
    sum = sum == kNone ? bar : b_.add(sum, bar);
  }

  void visit(std::int32_t position) {
    const Node node = b_.graph().nodes[index(position)];  // a copy: rules append
    b_.set_label(derived_label(node.label, "bar"));
    Ids out_bars;
    for (Id id : node.out) {
      out_bars.push_back(index(id) < bars_.size() ? bars_[index(id)] : kNone);
    }
    if (!node.attrs.region) {
      const Call call{*node.op, node.in, node.out[0], node.attrs};
      for (std::size_t i = 0; i < node.in.size(); ++i) {
        if (!is_active(node.in[i])) continue;
        const PullbackRule rule{b_, call, static_cast<int>(i), out_bars[0]};
        accumulate(node.in[i], std::visit(rule, node.op->deriv));
      }
      return;
    }
    Mask active, bars;
    for (Id id : node.in) active.push_back(is_active(id));
    for (Id id : out_bars) bars.push_back(id != kNone);
    // A map's sum is init + ..., whatever its body does.
    for (std::size_t j = 0; node.op == &op::k_map && j < index(node.attrs.region->num_carry); ++j) {
      accumulate(node.in[index(node.attrs.region->num_consts) + j], out_bars[j]);
    }
    if (node.op == &op::k_scan || node.op == &op::k_map) {
      emit_loop(position, node, out_bars,
                backward_loop(context_, *node.op, node.attrs.region, active, bars));
    } else {
      MIXFLOW_CHECK(node.op == &op::k_grad,
                    std::string(node.op->name) + " cannot be differentiated");
      const auto place = std::ranges::find(kept_, node.out, &KeptGradient::node_out);
      const KeptGradient none, &kept = place != kept_.end() ? *place : none;
      if (kept.graph && kept.names.empty()) return emit_kept(node, out_bars, kept);
      emit_grad(node, out_bars,
                backward_grad(context_, node.attrs.region, active, bars, kept.names), kept);
    }
  }

  void emit_loop(std::int32_t position, const Node& node, const Ids& out_bars,
                 const BackwardLoop& loop) {
    if (!loop.region) return;
    const std::size_t consts = index(node.attrs.region->num_consts);
    Ids carried;
    for (int k : loop.carries) {
      const Id bar = out_bars[index(k)];
      carried.push_back(bar != kNone ? bar : b_.zeros_like(node.out[index(k)]));
    }
    for (int i : loop.sums) carried.push_back(b_.zeros_like(node.in[index(i)]));
    const Ids out = emit_derived(b_, position, loop, carried, out_bars);
    std::size_t next = 0;
    for (int k : loop.carries) accumulate(node.in[consts + index(k)], out[next++]);
    for (int i : loop.sums) accumulate(node.in[index(i)], out[next++]);
    for (int i : loop.ys) accumulate(node.in[index(i)], out[next++]);
  }

  // The tangents of a gradient whose primal values are here already: (d^2 L / dw dtheta) c_g for
  // each w in `wanted`.
  void emit_kept(const Node& node, const Ids& out_bars, const KeptGradient& kept) {
    const std::size_t thetas = index(node.attrs.region->num_carry);
    Ids dots(node.in.size(), kNone);
    for (std::size_t k = 0; k < thetas; ++k) dots[k] = out_bars[1 + k];
    const Ids out = pushforward(context_, b_, *kept.graph, node.in, dots);
    std::size_t next = 1;
    for (std::size_t i = 0; i < node.in.size(); ++i) {
      if (!kept.wanted[i]) continue;
      const std::size_t j = next++;
      if (!is_active(node.in[i])) continue;
      if (out_bars[0] != kNone) accumulate(node.in[i], b_.mul(out_bars[0], kept.out[j]));
      accumulate(node.in[i], out[j]);
    }
  }

  void emit_grad(const Node& node, const Ids& out_bars, const BackwardGrad& rule,
                 const KeptGradient& kept) {
    const std::size_t thetas = index(node.attrs.region->num_carry);
    if (rule.graph) {
      Ids args = node.in;
      for (std::size_t j = 1; j < out_bars.size() && rule.second_order; ++j) {
        if (out_bars[j] != kNone) args.push_back(out_bars[j]);
      }
      for (const std::size_t name : rule.named) args.push_back(kept.out[node.out.size() + name]);
      const Ids out = b_.inline_graph(*rule.graph, args);
      for (std::size_t j = 0; j < out.size(); ++j) {
        const Id input = node.in[index(rule.out[j].input)];
        accumulate(input, rule.out[j].loss ? b_.mul(out_bars[0], out[j]) : out[j]);
      }
    }
    if (out_bars[0] == kNone || node.attrs.region->grad_mode == GradMode::first_order) return;
    for (std::size_t i = 0; i < thetas; ++i) {
      if (is_active(node.in[i])) accumulate(node.in[i], b_.mul(out_bars[0], node.out[1 + i]));
    }
  }

  Context& context_;
  Builder& b_;
  std::span<const KeptGradient> kept_;
  BitRows active_;
  Ids bars_;
};

}  // namespace

Ids pullback(Context& context, Builder& builder, std::span<const Id> ys, std::span<const Id> y_bars,
             std::span<const Id> xs, std::span<const KeptGradient> kept) {
  MIXFLOW_CHECK(ys.size() == y_bars.size(), "pullback needs one cotangent (or kNone) per output");
  return Pullback(context, builder, kept).run(ys, y_bars, xs);
}

Ids pullback(Builder& builder, std::span<const Id> ys, std::span<const Id> y_bars,
             std::span<const Id> xs) {
  Context context;
  return pullback(context, builder, ys, y_bars, xs);
}

VjpResult vjp(const Graph& graph, const Mask& active, const Mask& out_nonzero, bool keep_primal) {
  MIXFLOW_CHECK(active.size() == graph.inputs.size(), "vjp needs one bit per input");
  MIXFLOW_CHECK(out_nonzero.size() == graph.outputs.size(), "vjp needs one bit per output");
  Context context;
  Builder b;
  const Ids in = declare_inputs(b, graph);
  const Ids out = b.inline_graph(graph, in);
  Ids bars, xs;
  for (std::size_t j = 0; j < out.size(); ++j) {
    bars.push_back(out_nonzero[j] ? b.input(b.type(out[j])) : kNone);
  }
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (active[i]) xs.push_back(in[i]);
  }
  const Ids x_bars = pullback(context, b, out, bars, xs);
  VjpResult result;
  Ids outputs = keep_primal ? out : Ids{};
  std::size_t next = 0;
  for (std::size_t i = 0; i < in.size(); ++i) {
    const Id bar = active[i] ? x_bars[next++] : kNone;
    result.in_nonzero.push_back(bar != kNone);
    if (bar != kNone) outputs.push_back(bar);
  }
  result.graph = dce(*b.finish(std::move(outputs)));
  return result;
}

}  // namespace mixflow
