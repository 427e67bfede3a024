// Presets of gradient.remat.policy, and what the policy comes to.
#pragma once

#include <cstdint>

#include "config/config.h"

namespace mixflow {

// What a preset other than `none` is short for.
RematPolicy policy_of(Preset preset);

// What a preset and the policy beside it mean: keys of the policy that the config says count more.
RematPolicy resolved_policy(const Config& config);

// How many of the last inner steps keep the primal pass of their gradient (remat.policy.reuse):
// none that keep everything anyway, and none whose gradient is not differentiated again.
std::int64_t reused_steps(const Config& config);

}  // namespace mixflow
