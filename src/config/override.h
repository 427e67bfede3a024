// Overrides, -s key.path=value and the settings of sweeps, written into the YAML tree before it is
// read; so they are checked like the file, and messages name the override.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "config/yaml.h"

namespace mixflow {

// The keys and numbers of a path: meta.parameters[0].init -> meta, parameters, 0, init.
std::vector<std::string> path_segments(const std::string& path);

// Whether `outer` is a section or list around the key `inner`, or the same key.
bool path_holds(const std::string& outer, const std::string& inner);

// Whether the value given to `outer` says something about the key `inner` below it.
bool value_holds(const std::string& outer, const YamlNode& value, const std::string& inner);

// Applies overrides in turn. A section that comes after one of its own keys would drop what that
// one said: UserError. The same key twice: the last one counts, and the texts that this returns
// say so of the others.
std::vector<std::string> apply_overrides(YamlNode& root, std::span<const std::string> texts);

// Sets `key.path` of `root` to the YAML value after the first '='. A path names list items by
// number (meta.parameters.0.init or meta.parameters[0].init); missing sections are made, missing
// list items are errors.
void apply_override(YamlNode& root, const std::string& text);

// Sets `path`, written at `place`, to `value`, whose nodes know where they stand.
void apply_setting(YamlNode& root, const std::string& path, const TextPlace& place, YamlNode value);

}  // namespace mixflow
