// --over key.path=a,b,c: lists of values whose every combination is planned or measured.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"

namespace mixflow {

// One combination: keys and their values as text, in the order of the lists.
using KeyValues = std::vector<std::pair<std::string, std::string>>;

// Every combination of lists "key.path=a,b,c", the first list varying slowest; one combination
// without settings where there is no list. Commas inside brackets, braces or quotes do not split.
// UserError for a list that is none, a key listed twice, or more than kMostCombinations.
inline constexpr std::size_t kMostCombinations = 100'000;
std::vector<KeyValues> combinations(std::span<const std::string> lists);

// "inner.steps=2 gradient.mode=mixed"
std::string to_text(const KeyValues& settings);

// The config with the settings written over it. An error names the combination.
struct Combination {
  KeyValues settings;
  Config config;
};
std::vector<Combination> load_combinations(const std::string& path,
                                           std::span<const std::string> overrides,
                                           std::span<const std::string> lists);

// Calls `function`; what it throws as a UserError says which combination it was.
[[noreturn]] void rethrow_with(const KeyValues& settings);
template <class Function>
auto in_combination(const KeyValues& settings, Function&& function) {
  try {
    return function();
  } catch (...) {
    rethrow_with(settings);
  }
}

}  // namespace mixflow
