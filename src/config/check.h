// What one key alone cannot tell: rules between keys.
#pragma once

#include "config/config.h"

namespace mixflow {

// Throws UserError at the first rule that `config` breaks; adds warnings. `config.origins` tells
// where keys stand.
void check_relations(Config& config);

}  // namespace mixflow
