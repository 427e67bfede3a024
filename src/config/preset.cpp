#include "config/preset.h"

#include <string>

namespace mixflow {

RematPolicy policy_of(Preset preset) {
  const BlockKeep keep = preset == Preset::smallest ? BlockKeep::inputs : BlockKeep::dots;
  return {.gradients = keep, .second_order = keep, .reuse = preset == Preset::fastest ? -1 : 0};
}

RematPolicy resolved_policy(const Config& config) {
  RematPolicy policy = config.gradient.remat.policy;
  if (config.gradient.preset == Preset::none) return policy;
  const RematPolicy preset = policy_of(config.gradient.preset);
  const auto take = [&](const char* key, auto RematPolicy::*member) {
    if (!config.origins.contains(std::string("gradient.remat.policy.") + key)) {
      policy.*member = preset.*member;
    }
  };
  take("gradients", &RematPolicy::gradients);
  take("second_order", &RematPolicy::second_order);
  take("reuse", &RematPolicy::reuse);
  return policy;
}

}  // namespace mixflow
