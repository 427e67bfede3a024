// What one key alone cannot tell: rules between keys.
#pragma once

#include <optional>

#include "config/config.h"

namespace mixflow {

// Throws UserError at the first rule that `config` breaks; adds warnings. `config.origins` tells
// where keys stand.
void check_relations(Config& config);

// What a preset leaves alone where the config says it.
inline constexpr const char* kGradientsKey = "gradient.remat.policy.gradients";
inline constexpr const char* kSecondOrderKey = "gradient.remat.policy.second_order";

// The policy that a preset other than `none` is short for.
RematPolicy policy_of(Preset preset);

// The eta that a transform turns into `value`; none outside the transform's range.
std::optional<double> inverse_transform(Transform transform, double value);

}  // namespace mixflow
