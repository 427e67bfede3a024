// Which values some outputs of a graph need, bodies included. Bits only: nothing is built, so the
// fixpoints of nested loops stay cheap, and answers about a body are remembered.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "graph/op.h"

namespace mixflow {

using Mask = std::vector<bool>;

class Liveness {
 public:
  // Per value: is it needed for the outputs of `outputs` (one bit per graph output)?
  Mask values(const Graph& graph, const Mask& outputs);
  // Per input of the graph.
  Mask inputs(const Graph& graph, const Mask& outputs);
  // Per input of a structural node, for those of its outputs in `used`.
  Mask node_inputs(const OpDef& op, const Region& region, const Mask& used);
  // Per output of the body: what one iteration must compute. For a scan this includes the carries
  // that later iterations read; for a grad it is the loss.
  Mask body_outputs(const OpDef& op, const Region& region, const Mask& used);

 private:
  std::map<std::pair<const Region*, Mask>, Mask> known_;
};

// Is any bit set?
bool any(const Mask& mask);
// The bits of `ids`.
Mask pick(const Mask& values, const std::vector<Id>& ids);

}  // namespace mixflow
