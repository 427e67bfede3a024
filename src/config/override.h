// Command-line overrides, -s key.path=value, written into the YAML tree before it is read; so they
// are checked like the file, and messages name the override.
#pragma once

#include <span>
#include <string>

#include "config/yaml.h"

namespace mixflow {

// Sets `key.path` of `root` to the YAML value after the first '='. A path names list items by
// number (meta.parameters.0.init or meta.parameters[0].init); missing sections are made, missing
// list items are errors.
void apply_override(YamlNode& root, const std::string& text);

}  // namespace mixflow
