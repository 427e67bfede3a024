// Where the data files that a config names lie.
#pragma once

#include <string>

#include "config/config.h"

namespace mixflow {

// `path` (possibly file.npz:member) as the config writes it in `key`: relative to the working
// directory or, if nothing is there, to the config file's directory. Throws UserError where neither
// exists, with the command that fetches it if it is one of the project's own.
std::string locate(const std::string& path, const Config& config, const char* key);

}  // namespace mixflow
