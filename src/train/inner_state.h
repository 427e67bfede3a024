// The inner state of each task (theta, the inner optimiser's state and the number of steps it has
// done) where inner.reset_every carries it from one meta-step to the next. It lives in inputs of
// the train stage, over which the stage writes the next one. The number of steps follows from the
// meta-step, so that checkpoints need not hold it.
#pragma once

#include <cstdint>

#include "config/config.h"
#include "train/stage_run.h"

namespace mixflow {

// Inner steps that the state has done since its start at theta_0, after meta-step t; 0 before the
// first.
std::int64_t inner_steps_after(const InnerConfig& inner, std::int64_t t);

// theta_0 for every task, and a zero optimiser state. Nothing for a stage without a carried state.
void reset_inner_state(StageRun& run);

// What meta-step t (from 1) expects: a reset state if one is due, and the number of steps done.
// Allocates nothing.
void give_inner_state(const InnerConfig& inner, std::int64_t t, StageRun& run);

}  // namespace mixflow
