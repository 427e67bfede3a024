// Is bf16 good enough for this config? One meta-gradient in bf16 beside the same one in float32,
// with the starting values and the first batch of tasks, before a training in bf16 begins.
#pragma once

#include <optional>
#include <string>

#include "config/config.h"
#include "data/source.h"

namespace mixflow {

struct Bf16Figure {
  std::string tensor;  // of eta, whose meta-gradients agree least
  double cosine = 1;
};

// Below this cosine bf16 is refused.
inline constexpr double kLeastBf16Cosine = 0.99;

// Nothing where there is nothing to compare, or where gradient.bf16_check leaves it out: never, or
// auto and more than a twentieth of the training. Tensors that are less than a hundredth of the
// gradient of their kind do not count. Throws RunError below kLeastBf16Cosine.
std::optional<Bf16Figure> check_bf16(const Config& config, const TaskSource& source, int threads);

}  // namespace mixflow
