// What is said of several values at once.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace mixflow {

enum class Agg : std::uint8_t { mean, median, min, max, count, std };
inline constexpr std::string_view kAggNames[] = {"mean", "median", "min", "max", "count", "std"};
inline std::string_view name_of(Agg agg) { return kAggNames[static_cast<std::size_t>(agg)]; }

// Nothing where there are too few values (std: two, others: one). NaN if one of the values is. std
// is the sample's (n - 1).
std::optional<double> aggregate(Agg agg, std::span<const double> values);

// Half the width of the 95 % confidence interval of the mean, by Student's t with n - 1 degrees of
// freedom; nothing for fewer than two values.
std::optional<double> ci95(std::span<const double> values);

}  // namespace mixflow
