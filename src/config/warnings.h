// What is accepted, but not recommended.
#pragma once

#include "config/config.h"

namespace mixflow {

// Adds to `config.warnings` what a checked config deserves, with the places of its keys.
void add_warnings(Config& config);

}  // namespace mixflow
