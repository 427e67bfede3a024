// The transformer sizes of Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models"
// (Chinchilla), table A9, by their millions of parameters.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace mixflow {

struct ChinchillaSize {
  std::int64_t params_millions;  // with the paper's vocabulary: a name, not a count
  std::int64_t d_model, ffw, kv_size, heads, layers;
};

// All rows, smallest first.
std::span<const ChinchillaSize> chinchilla_sizes();

// "489M"; billions ("16B") name the one row that rounds to them. Null where no row, or more than
// one, fits.
const ChinchillaSize* find_chinchilla(std::string_view name);

// The row's name, "489M".
std::string name_of(const ChinchillaSize& size);

}  // namespace mixflow
