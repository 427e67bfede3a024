// Why a meta-step gave numbers that are not finite: the kernel that made the first of them, with
// the inner step, and the likely cause as far as it can be checked.
#pragma once

#include <string>

#include "exec/watch.h"
#include "train/stage_run.h"

namespace mixflow {

// Runs one meta-step of `train` again, watched. `train` has what that meta-step reads: the state
// from before it, data, scalars; its results are those of the step afterwards. Says in sentences
// that can follow others where the first number that is not finite came from, and what to do. ""
// where this time all was finite. Takes no memory of the size of the plan, unless short loops are
// straight code in it: then they are loops here, so that their steps have numbers.
std::string diagnose(const Experiment& experiment, StageRun& train);

// The words for an origin, without its cause: "in inner step 3 of 5: mul of 3 and 1e38 gave inf
// ..".
std::string describe(const Origin& origin, const Stage& stage, const Config& config);

}  // namespace mixflow
