// The paths of data files in a config.
#pragma once

#include <functional>
#include <string>

#include "config/config.h"

namespace mixflow {

// Calls `visit` with every path of a data file or directory that the config's keys hold, also the
// empty ones; it may change them.
void for_each_path(Config& config, const std::function<void(std::string&)>& visit);

}  // namespace mixflow
