// Values that several kernels compute each for themselves instead of one storing them for the
// others.
#pragma once

#include "transform/fuse_clusters.h"

namespace mixflow {

// Clusters are grown. Chains first: what a later cluster alone reads is computed there instead of
// being stored until then, where what it is made of takes less memory; a few polynomials and
// exponentials cost less than a store and a load. Then cheap ops, in all clusters that read them,
// where what they are made of is there anyway.
void recompute(Clusters& clusters);

}  // namespace mixflow
