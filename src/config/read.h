// One YAML value read as what its key expects.
#pragma once

#include <string>

#include "config/key.h"
#include "config/plain.h"
#include "config/yaml.h"

namespace mixflow {

// The value of a key that is neither a section nor a list. Throws UserError "<place>: <path>:
// expected .., got .. (what the key is; its default)".
ConfigValue read_value(const Key& key, const YamlNode& node, const std::string& path,
                       const ConfigValue& fallback);

}  // namespace mixflow
