#include "transform/liveness.h"

#include <algorithm>

#include "ops/op_list.h"
#include "util/index.h"

namespace mixflow {
namespace {}  // namespace

bool any(const Mask& mask) { return std::ranges::find(mask, true) != mask.end(); }

Mask pick(const Mask& values, const std::vector<Id>& ids) {
  Mask bits;
  for (Id id : ids) bits.push_back(values[index(id)]);
  return bits;
}

Mask Liveness::values(const Graph& graph, const Mask& outputs) {
  Mask live(graph.values.size(), false);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i]) live[index(graph.outputs[i])] = true;
  }
  for (auto node = graph.nodes.rbegin(); node != graph.nodes.rend(); ++node) {
    const Region* region = region_of(*node);
    if (region == nullptr) {
      if (!live[index(node->out[0])]) continue;
      for (const Id id : node->in) live[index(id)] = true;
      continue;
    }
    const Mask used = pick(live, node->out);
    if (!any(used)) continue;
    const Mask reads = node_inputs(*node->op, *region, used);
    for (std::size_t i = 0; i < node->in.size(); ++i) {
      if (reads[i]) live[index(node->in[i])] = true;
    }
  }
  return live;
}

Mask Liveness::inputs(const Graph& graph, const Mask& outputs) {
  return pick(values(graph, outputs), graph.inputs);
}

Mask Liveness::body_outputs(const OpDef& op, const Region& region, const Mask& used) {
  if (&op == &op::k_grad) return {true};
  Mask needed = used;
  if (&op != &op::k_scan) return needed;
  for (bool grew = true; grew;) {
    grew = false;
    const Mask reads = inputs(*region.body, needed);
    for (std::size_t k = 0; k < index(region.num_carry); ++k) {
      if (needed[k] || !reads[index(region.num_consts) + k]) continue;
      needed[k] = true;
      grew = true;
    }
  }
  return needed;
}

Mask Liveness::node_inputs(const OpDef& op, const Region& region, const Mask& used) {
  const auto key = std::pair(&region, used);
  if (const auto known = known_.find(key); known != known_.end()) return known->second;
  const Mask needed = body_outputs(op, region, used);
  Mask reads = inputs(*region.body, needed);
  const std::size_t consts = index(region.num_consts);
  const std::size_t carry = index(region.num_carry);
  if (&op == &op::k_scan) {
    // A final carry that nothing in the body reads still starts somewhere.
    for (std::size_t k = 0; k < carry; ++k) reads[consts + k] = needed[k];
  } else if (&op == &op::k_map) {
    const auto first_x = reads.begin() + region.num_consts;
    reads.insert(first_x, used.begin(), used.begin() + region.num_carry);
  } else if (&op == &op::k_grad) {
    for (std::size_t k = 0; k < carry; ++k) reads[k] = reads[k] || used[1 + k];
  }
  known_.emplace(key, reads);
  return reads;
}

}  // namespace mixflow
