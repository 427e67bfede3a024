// Sinusoid regression (Finn et al. 2017, "Model-agnostic meta-learning", section 5.1): y = A sin(w
// x - phase).
#pragma once

#include <memory>

#include "data/source.h"

namespace mixflow {

// One task draws A, phase and w uniformly, then its support and query points uniformly and
// independently. Every inner step sees the same support.
std::unique_ptr<TaskSource> make_sinusoid(const SinusoidData& data, const Config& config);

// sin(x) for |x| <= kFastSinLimit with an absolute error below 1e-9: branch-free, so that a loop of
// it is vectorised.
inline constexpr double kFastSinLimit = 1e5;
double fast_sin(double x);

}  // namespace mixflow
