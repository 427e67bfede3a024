// The table of every configuration key, and what is printed from it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "config/key.h"

namespace mixflow {

// The most threads of the config and of the command line: more are a slip, and beyond some number
// the system refuses to start them.
inline constexpr int kMostThreads = 1024;

// The keys of Config, sections inside.
const std::vector<Key>& schema();

// One row of the schema: a key that is not a section, under one kind of the section it stands in.
struct SchemaRow {
  std::string path;  // inner.optimizer.lr; list items: meta.parameters[].kind
  const Key* key;
  ConfigValue fallback;  // the default; monostate where there is none
};
std::vector<SchemaRow> schema_rows();

// The table for people, one line per key; for `--schema`.
std::string schema_text();

// JSON Schema, draft 2020-12: for editors and other tools.
nlohmann::json json_schema();

// A value as YAML (flow style; it reads back as the same value).
std::string yaml_text(const ConfigValue& value);

// Whether it is a text or a list of texts that was not given: the empty one.
bool is_unset_text(const ConfigValue& value);

}  // namespace mixflow
