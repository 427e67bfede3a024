// YAML -> Config and back. Every error is a UserError "file:line:column: key.path: what was
// expected and found, and the way out"; for an override "-s key.path=value: key.path: ..".
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "config/config.h"

namespace mixflow {

// Reads and checks a file. Overrides "key.path=value" (the value is YAML) are applied in turn
// before the checks. Relative paths in it refer to the current directory, else (where nothing is
// there) to the file's directory; whether data files exist is not checked.
Config load_config(const std::string& path, std::span<const std::string> overrides = {});

// The same from text; `name` stands for the file, in messages and for its directory.
Config parse_config(const std::string& text, const std::string& name,
                    std::span<const std::string> overrides = {});

// The whole configuration as YAML, every applicable key with its value. Loading it gives the same
// configuration.
std::string dump_config(const Config& config);

// "adam.yaml:14:7: inner.optimizer.lr": where a key was written and its path, to start a message
// with. A key that was not written stands where the nearest section around it does.
std::string origin(const Config& config, std::string_view path);

}  // namespace mixflow
