// What one key alone cannot tell: rules between keys.
#pragma once

#include <optional>

#include "config/config.h"

namespace mixflow {

// Throws UserError at the first rule that `config` breaks; adds warnings. `config.origins` tells
// where keys stand.
void check_relations(Config& config);

// The eta that a transform turns into `value`; none outside the transform's range.
std::optional<double> inverse_transform(Transform transform, double value);

}  // namespace mixflow
