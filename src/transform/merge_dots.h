// Products that are only added up become one dot_sum, in every body:
//   d1 + d2         -> dot_sum(d1, d2)         a tangent is always x'·W + x·W'
//   z + (d1 + d2)   -> dot_sum(d1, d2, z)      one trip over memory; z's buffer is the result's
//   where it dies
// where each d is a dot without other readers, seen through a reshape without other readers, and z
// lives in memory anyway: an input of the body (an accumulator carry), a result of a loop or a dot
// that others read too. An elementwise z is left for the fuse pass, which adds it while it is in
// the cache. Sums are re-associated; terms that do not fit are added afterwards.
//
// Runs after all differentiation (dot_sum has no derivative) and before fuse.
#pragma once

#include "graph/graph.h"

namespace mixflow {

GraphPtr merge_dots(const Graph& graph);

}  // namespace mixflow
