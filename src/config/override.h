// Overrides, -s key.path=value and the settings of sweeps, written into the YAML tree before it is
// read; so they are checked like the file, and messages name the override.
#pragma once

#include <span>
#include <string>

#include "config/yaml.h"

namespace mixflow {

// Sets `key.path` of `root` to the YAML value after the first '='. A path names list items by
// number (meta.parameters.0.init or meta.parameters[0].init); missing sections are made, missing
// list items are errors.
void apply_override(YamlNode& root, const std::string& text);

// Sets `path`, written at `place`, to `value`, whose nodes know where they stand.
void apply_setting(YamlNode& root, const std::string& path, const TextPlace& place, YamlNode value);

}  // namespace mixflow
