// How good a finished point is.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "data/split.h"

namespace mixflow {

struct PointResult {
  double loss = 0;  // held-out, after the most inner steps of the last evaluation; lower is better
  Split split =
      Split::test;  // validation where the run evaluated there, so that test tasks stay unseen
};

// From eval.jsonl of a run directory; nothing where the last evaluation is missing or not finite.
std::optional<PointResult> result_of(const std::filesystem::path& run);

}  // namespace mixflow
