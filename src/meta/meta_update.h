// The outer optimiser's step on eta: clipping, update, projection into bounds.
#pragma once

#include <span>

#include "config/config.h"
#include "meta/parameters.h"
#include "ops/builder.h"

namespace mixflow {

struct MetaUpdate {
  Ids eta;
  Ids state;             // as given
  Id grad_norm = kNone;  // global norm before clipping, a scalar
};

// eta' = clamp(Upsilon(scale grad, eta, state), bounds) with scale = min(1, clip_norm / |grad|),
// tensor by tensor. `state` has the meta-optimiser's tensors for each tensor of eta, in the order
// of opt_state_names; `lr` and `t` (the number of this meta-step, from 1) are scalars in the type
// of eta.
MetaUpdate meta_update(Builder& b, const MetaConfig& config, std::span<const EtaTensor> tensors,
                       std::span<const Id> eta, std::span<const Id> state, std::span<const Id> grad,
                       Id lr, Id t);

}  // namespace mixflow
