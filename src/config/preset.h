// Presets of gradient.remat.policy.
#pragma once

#include "config/config.h"

namespace mixflow {

// What a preset other than `none` is short for.
RematPolicy policy_of(Preset preset);

// What a preset and the policy beside it mean: keys of the policy that the config says count more.
RematPolicy resolved_policy(const Config& config);

}  // namespace mixflow
