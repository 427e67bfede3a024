// What the last iteration of a loop need not compute: carries that only a further iteration would
// read. Where theta_0 is not learned, the backward pass of an unroll ends so: its first inner step
// leaves out the second-order pass for the cotangent of theta_0.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace mixflow {

// The body of a scan's last iteration where nobody reads the final carries in `dead`: the same
// inputs, the outputs without those carries. Null where that saves no product: elementwise kernels
// skip results that have no place, which is cheaper than a body of its own.
GraphPtr last_iteration(const Region& region, const std::vector<bool>& dead);

}  // namespace mixflow
