// The optimisers, as graphs: the update rule Upsilon(g, theta, opt_state, hyper-parameters), tensor
// by tensor. The same rules serve the inner problem, where hyper-parameters may be meta-parameters,
// and the meta-update.
//
//   sgd       theta <- theta - lr g
//   momentum  v <- mu v + g;  theta <- theta - lr v
//   nesterov  v <- mu v + g;  theta <- theta - lr (g + mu v)
//   adam      m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
//             theta <- theta - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t) + eps_root) + eps),
//             t from 1
//   adamw     adam with theta <- theta - lr (.. + weight_decay theta)
//   rmsprop   v <- beta2 v + (1 - beta2) g^2;  theta <- theta - lr g / (sqrt(v + eps_root) + eps)
//
// With stop_denominator the denominators of the last three are constants for derivatives, in the
// step itself and in all later ones: v has no derivative, nor has beta2.
//
// The gradient is an argument: that is what separates the cheap elementwise half of a step's
// derivative from its second-order half (Kemaev et al. 2025, section 3).
#pragma once

#include <span>
#include <string_view>

#include "config/config.h"
#include "ops/builder.h"

namespace mixflow {

// Hyper-parameters of one update: scalars, or of the weight's shape. Those that the optimiser lacks
// are not read.
struct UpdateArgs {
  Id lr = kNone;
  Id momentum = kNone;
  Id beta1 = kNone;
  Id beta2 = kNone;
  Id weight_decay = kNone;
  Id unbias1 = kNone;  // 1 / (1 - beta1^t); see unbias
  Id unbias2 = kNone;
};

// Names of the state tensors that the optimiser keeps for each weight tensor (of its shape, zero at
// the start).
std::span<const std::string_view> opt_state_names(OptimizerKind kind);

// Whether the optimiser has a hyper-parameter of this kind.
bool has_hyper(OptimizerKind kind, MetaKind hyper);

// 1 / (1 - beta^t) for t = 1, 2, .., elementwise, to full precision for beta near 1; 0 <= beta < 1,
// with its derivative in beta.
Id unbias(Builder& b, Id beta, Id t);

// 1 - beta^t, the moving average of t ones, to the same precision; exactly 0 at t = 0, with its
// derivative. beta >= 0.
Id average_of_ones(Builder& b, Id beta, Id t);

struct Updated {
  Id theta;
  Ids opt_state;
};
// One step for one weight tensor. eps and eps_root are read from `config`, all else from `args`.
Updated update(Builder& b, const OptimizerConfig& config, Id g, Id theta,
               std::span<const Id> opt_state, const UpdateArgs& args);

}  // namespace mixflow
