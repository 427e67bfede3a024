// A number that multiplies a large matrix of a product moves to the product's smaller factor, in
// every body, where the matrix is in memory anyway and would be walked for the number alone:
//   x · (s w)             -> (s x) · w
//   z + s (x · y)         -> z + (s x) · y         which merge_dots accumulates onto z
//   z - s (x · y)         -> z + (-s x) · y
// So a step of gradient descent, theta - eta x^T y, is one product on top of theta, and the
// direction -eta theta_bar of a Hessian-vector product is never stored.
#pragma once

#include "graph/graph.h"

namespace mixflow {

// Before merge_dots. In exact arithmetic the same; in floats the number meets the range of another
// factor.
GraphPtr move_scales(const Graph& graph);

}  // namespace mixflow
