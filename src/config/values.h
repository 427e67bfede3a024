// The keys of a configuration one by one: what each holds, and what it would hold if nobody had
// written it.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "config/key.h"

namespace mixflow {

struct KeyValue {
  std::string path;  // inner.optimizer.lr, meta.parameters[0].kind
  ConfigValue value;
  ConfigValue fallback;  // the default; monostate where there is none
  bool required = false;
};

// Every key that is no section and applies to the kinds chosen, in the order of the schema.
std::vector<KeyValue> key_values(const Config& config);

// The keys that were written with another value than their default.
std::vector<KeyValue> changed_keys(const Config& config);

// Puts one key back to its default. InternalError for a path that does not apply.
void set_default(Config& config, const std::string& path);

}  // namespace mixflow
