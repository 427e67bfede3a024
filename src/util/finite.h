// Scans of whole tensors for values that are not finite.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

namespace mixflow {

// Index of the first infinity or NaN. Reads at the speed of memory where there is none.
std::optional<std::size_t> first_non_finite(std::span<const float> values);
std::optional<std::size_t> first_non_finite(std::span<const double> values);

}  // namespace mixflow
