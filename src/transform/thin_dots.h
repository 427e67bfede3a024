// Products with a side of one become elementwise ops and sums, which fuse with their neighbours, in
// every body:
//   [M, 1] x [1, N]         -> a · b, spread over [M, N]; stacks of one too
//   [M, K] x [K, 1]         -> the sums of A's rows, times b; likewise for one row, and transposed,
//                              where the matrix is small
// So a network whose output is a number is one kernel from its last hidden layer through the loss
// and back. Elementwise ops, broadcasts and sums on values whose last axis is of one do without
// that axis: they are the rows of their neighbours' space then.
#pragma once

#include "graph/graph.h"

namespace mixflow {

// Before merge_dots, which would keep the products as such. In exact arithmetic the same; not for
// plans in bf16, whose products round their factors.
GraphPtr thin_dots(const Graph& graph);

}  // namespace mixflow
