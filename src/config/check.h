// What one key alone cannot tell: rules between keys.
#pragma once

#include <optional>

#include "config/config.h"

namespace mixflow {

// Throws UserError at the first rule that `config` breaks; adds warnings. `config.origins` tells
// where keys stand.
void check_relations(Config& config);

// eps_root of the inner optimiser where the config does not say it. The derivative of an update at
// a gradient near 0 is lr / sqrt(eps_root): it multiplies the rounding of that gradient, and below
// these values the rounding is what the meta-gradient consists of. Measured: README.md.
double default_eps_root(Precision precision);

// The eta that a transform turns into `value`; none outside the transform's range.
std::optional<double> inverse_transform(Transform transform, double value);

}  // namespace mixflow
