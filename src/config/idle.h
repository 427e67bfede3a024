// Settings that change nothing beside the others: a setting acts, or is refused, or is told here.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace mixflow {

struct IdleSetting {
  std::string path;
  std::string reason;  // ".. has no effect, because <reason>"
};

// Of a checked config whose preset is not resolved yet: every key that was written with another
// value than its default, and without which the run would be the same. What depends on a network's
// sizes and not on its kind is left to the plan (train/idle_plan.h).
std::vector<IdleSetting> idle_settings(const Config& config);

// "c.yaml:4:9: inner.window: has no effect, because ..": a line for terminal and log.
std::string idle_text(const Config& config, const IdleSetting& setting);

}  // namespace mixflow
