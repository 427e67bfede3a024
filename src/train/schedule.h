// The meta-learning rate over meta-steps.
#pragma once

#include "config/config.h"

namespace mixflow {

// Rate of meta-step t (from 1) of `steps`: linear warm-up, then constant, cosine down to
// final_fraction, or a factor every so many steps.
double scheduled_lr(const Schedule& schedule, double lr, std::int64_t t, std::int64_t steps);

}  // namespace mixflow
