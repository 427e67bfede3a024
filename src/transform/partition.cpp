#include "transform/partition.h"

#include <algorithm>

#include "graph/op.h"
#include "ops/op_list.h"
#include "transform/liveness.h"
#include "util/index.h"

namespace mixflow {
namespace {

class Partition {
 public:
  explicit Partition(const Joint& joint)
      : joint_(joint),
        graph_(joint.graph),
        varying_(graph_.values.size(), false),
        kept_(graph_.values.size(), false),
        seen_(graph_.values.size(), false) {
    for (Id id : graph_.inputs) varying_[index(id)] = true;
    for (Id id : joint.invariant) varying_[index(id)] = false;
    for (const Node& node : graph_.nodes) {
      const bool varies = any(pick(varying_, node.in));
      for (Id id : node.out) varying_[index(id)] = varies;
    }
  }

  void keep_names(const std::vector<std::string>& names) {
    for (std::size_t i = 0; i < joint_.forward_nodes; ++i) {
      const Node& node = graph_.nodes[i];
      if (node.op != &op::k_named) continue;
      if (std::ranges::find(names, node.attrs.name) != names.end()) keep(named(node.out[0]));
    }
  }

  // Every forward value that a live backward node reads, or what it is made of.
  void keep_read(bool dots_only) {
    dots_only_ = dots_only;
    Mask live(graph_.values.size(), false);
    for (Id id : joint_.outputs) live[index(id)] = true;
    for (std::size_t i = graph_.nodes.size(); i-- > joint_.forward_nodes;) {
      const Node& node = graph_.nodes[i];
      if (!any(pick(live, node.out))) continue;
      for (Id id : node.in) live[index(id)] = true;
    }
    for (std::size_t id = 0; id < live.size(); ++id) {
      if (live[id] && is_forward(static_cast<Id>(id))) visit(static_cast<Id>(id));
    }
  }

  Ids kept() const {
    Ids result;
    for (std::size_t id = 0; id < kept_.size(); ++id) {
      if (kept_[id]) result.push_back(static_cast<Id>(id));
    }
    return result;
  }

 private:
  bool is_forward(Id id) const {
    const std::int32_t node = graph_.values[index(id)].node;
    return node < 0 || index(node) < joint_.forward_nodes;
  }

  Id named(Id id) const {
    const Node* node = graph_.producer(id);
    while (node != nullptr && node->op == &op::k_named) {
      id = node->in[0];
      node = graph_.producer(id);
    }
    return id;
  }

  void keep(Id id) {
    if (graph_.producer(id) != nullptr && varying_[index(id)]) kept_[index(id)] = true;
  }

  // Cheap enough to be computed again, given its operands.
  bool recomputed(const OpDef& op) const {
    if (!dots_only_) return op.free;
    return !std::holds_alternative<Structural>(op.deriv) && &op != &op::k_dot &&
           &op != &op::k_gather && &op != &op::k_scatter_add;
  }

  // Keeps `id`, or what it is made of if that is recomputed.
  void visit(Id id) {
    id = named(id);
    const Node* node = graph_.producer(id);
    if (seen_[index(id)] || node == nullptr || !varying_[index(id)]) return;
    seen_[index(id)] = true;
    if (!recomputed(*node->op)) return keep(id);
    for (Id in : node->in) visit(in);
  }

  const Joint& joint_;
  const Graph& graph_;
  Mask varying_, kept_, seen_;
  bool dots_only_ = false;
};

}  // namespace

Ids partition(const Joint& joint, const Policy& policy) {
  Partition partition(joint);
  switch (policy.keep) {
    case Policy::Keep::carries:
      break;
    case Policy::Keep::names:
      partition.keep_names(policy.names);
      break;
    case Policy::Keep::dots:
      partition.keep_read(true);
      break;
    case Policy::Keep::all:
      partition.keep_read(false);
      break;
  }
  return partition.kept();
}

}  // namespace mixflow
