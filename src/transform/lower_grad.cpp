// Grad nodes become what they stand for.
#include <algorithm>
#include <map>

#include "ops/op_list.h"
#include "transform/differentiate.h"
#include "transform/rebuild.h"
#include "util/index.h"

namespace mixflow {
namespace {

// Lowers bodies first: what is left of them are grad nodes of this graph only.
class LowerGrad {
 public:
  GraphPtr run(const Graph& graph) {
    return rebuild(graph, [this](Builder& b, const Node& node, std::span<const Id> in) {
      if (!node.attrs.region || count_grads(node) == 0) return append_node(b, node, in);
      const RegionPtr& old = node.attrs.region;
      if (node.op != &op::k_grad) {
        return b.emit_region(*node.op, in,
                             regions_.get(old, [&] { return with_body(old, run(*old->body)); }));
      }
      Ids out = b.inline_graph(*value_and_gradient(node.attrs.region), in);
      if (node.attrs.region->grad_mode == GradMode::first_order) {
        for (std::size_t j = 1; j < out.size(); ++j) out[j] = b.stop_gradient(out[j]);
      }
      return out;
    });
  }

 private:
  static std::int64_t count_grads(const Node& node) {
    return (node.op == &op::k_grad ? 1 : 0) + count_ops(*node.attrs.region->body, op::k_grad);
  }

  GraphPtr value_and_gradient(const RegionPtr& region) {
    GraphPtr& known = gradients_[region];
    if (!known) {
      Mask wanted(region->body->inputs.size(), false);
      std::fill_n(wanted.begin(), index(region->num_carry), true);
      // A loss that contains gradients is differentiated by their own modes, then lowered.
      known = gradient_graph(context_, *region->body, wanted, true);
      if (count_ops(*known, op::k_grad) > 0) known = run(*known);
    }
    return known;
  }

  Context context_;
  RegionCache regions_;
  std::map<RegionPtr, GraphPtr> gradients_;
};

}  // namespace

GraphPtr lower_grad(const Graph& graph) { return LowerGrad().run(graph); }

}  // namespace mixflow
