// How good a finished point is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "data/split.h"

namespace mixflow {

struct PointResult {
  double loss = 0;  // held-out, after the most inner steps of the last evaluation; lower is better
  std::int64_t inner_steps = 0;
  // Validation where the run evaluated there, so that test tasks stay unseen.
  Split split = Split::test;
};

// From eval.jsonl of a run directory; nothing where the last evaluation is missing or not finite.
std::optional<PointResult> result_of(const std::filesystem::path& run);

}  // namespace mixflow
