#include "plan/last_iteration.h"

#include <algorithm>

#include "ops/op_list.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

std::int64_t products(const Graph& graph) {
  return count_ops(graph, op::k_dot) + count_ops(graph, op::k_dot_sum);
}

}  // namespace

GraphPtr last_iteration(const Region& region, const std::vector<bool>& dead) {
  if (std::ranges::find(dead, true) == dead.end()) return nullptr;
  Graph kept = *region.body;
  kept.outputs.clear();
  for (std::size_t k = 0; k < region.body->outputs.size(); ++k) {
    if (k >= dead.size() || !dead[k]) kept.outputs.push_back(region.body->outputs[k]);
  }
  GraphPtr last = dce(kept);
  return products(*last) < products(*region.body) ? last : nullptr;
}

}  // namespace mixflow
