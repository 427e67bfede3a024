// Meta-gradients to compare, tensor by tensor.
#pragma once

#include <string_view>
#include <vector>

#include "meta/experiment.h"

namespace mixflow {

using Tensors = std::vector<std::vector<double>>;  // in the order of experiment.eta

// Tensors of less than this share of the gradient of their kind do not count.
inline constexpr double kNegligible = 1e-2;

double norm(const std::vector<double>& x);
double norm(const Tensors& x);

// eta.lr.layers.0.bias -> eta.lr: gradients of one kind have one unit.
std::string_view kind_of(std::string_view name);

// By tensor: the norm of the gradient of its kind.
std::vector<double> kind_norms(const Tensors& gradient, const std::vector<Port>& eta);

}  // namespace mixflow
