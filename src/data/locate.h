// The data files that a config names.
#pragma once

#include <string>
#include <string_view>

#include "config/config.h"

namespace mixflow {

// `path` (possibly file.npz:member), the value of `key`; the loader has resolved paths that are
// relative to the config file. Throws UserError where there is no such file, with the command that
// fetches it if it is one of the project's own.
const std::string& existing(const std::string& path, const Config& config, const char* key);
// The error where there is no file `file`.
[[noreturn]] void fail_missing(const std::string& file, const Config& config, std::string_view key);

}  // namespace mixflow
