// What a config's plan depends on.
#pragma once

#include <string>

#include "config/config.h"

namespace mixflow {

// Equal for configs whose plans are equal: seeds, learning rates, lengths of training and the like
// are left out.
std::string structure_of(const Config& config);

}  // namespace mixflow
