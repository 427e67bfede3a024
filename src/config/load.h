// YAML -> Config and back. Every error is a UserError "file:line:column: key.path: what was
// expected and found, and the way out"; for an override "-s key.path=value: key.path: ..".
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "config/config.h"
#include "config/yaml.h"

namespace mixflow {

// Reads and checks a file. Overrides "key.path=value" (the value is YAML) are applied in turn
// before the checks. Relative paths in it refer to the current directory, else (where nothing is
// there) to the file's directory; whether data files exist is not checked.
Config load_config(const std::string& path, std::span<const std::string> overrides = {});

// The same from text; `name` stands for the file, in messages and for its directory.
Config parse_config(const std::string& text, const std::string& name,
                    std::span<const std::string> overrides = {});

// The same from a tree, such as one with settings written over it. `name` as above.
Config read_config(const YamlNode& root, const std::string& name);

// The text of a config file or, as `kind` says, of another YAML file; what else is there is a
// UserError.
std::string read_document(const std::string& path, const DocumentKind& kind = {});

// Where the relative path `file`, found in `config_file`, leads: see load_config.
std::string resolved_path(const std::string& file, const std::string& config_file);

// With paths of data files as they are seen from any directory.
Config with_absolute_paths(Config config);

// The whole configuration as YAML, every applicable key with its value. Loading it gives the same
// configuration.
std::string dump_config(const Config& config);

// The first key in which two dumps differ: "inner.steps: it had \"steps: 5\", now \"steps: 6\"". ""
// where they are equal.
std::string first_difference(const std::string& was, const std::string& is);

// "adam.yaml:14:7: inner.optimizer.lr": where a key was written and its path, to start a message
// with. A key that was not written stands where the nearest section around it does.
std::string origin(const Config& config, std::string_view path);

}  // namespace mixflow
