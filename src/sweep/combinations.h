// The combinations of a sweep's axes, before they are written over the base config.
#pragma once

#include <functional>
#include <vector>

#include "sweep/expression.h"
#include "sweep/spec.h"

namespace mixflow {

using Settings = std::vector<Setting>;

struct Combinations {
  std::vector<Settings> points;  // without `set`
  std::size_t left_out = 0;      // by `when`
};

// The value of a key in the base config, for conditions over points that do not set it.
using BaseValue = std::function<Operand(const std::string& key)>;

// Every combination that fulfils the conditions. Random draws follow from (random_seed, the key,
// the sample's number) alone: more samples or axes leave the others as they were. Throws UserError:
// more than kMostCombinations, a condition that is none, or none left.
Combinations expand(const SweepSpec& spec, const BaseValue& base_value);

// One combination, whatever the conditions: the first of each block.
Settings first_combination(const SweepSpec& spec);

}  // namespace mixflow
