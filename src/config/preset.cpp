#include "config/preset.h"

#include <algorithm>
#include <string>
#include <variant>

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
  if (std::holds_alternative<TransformerModel>(config.model)) {  // others have no blocks
    take("gradients", &RematPolicy::gradients);
    take("second_order", &RematPolicy::second_order);
  }
  take("reuse", &RematPolicy::reuse);
  return policy;
}

std::int64_t reused_steps(const Config& config) {
  if (!config.gradient.remat.step || !config.gradient.second_order()) return 0;
  // The first differentiated step starts from constants, unless theta_0 is learned: its gradient is
  // differentiated along eta alone, which products of the inner loss read in loss_weights only.
  const bool first = std::ranges::any_of(config.meta.parameters, [](const MetaParameter& learned) {
    return learned.kind == MetaKind::init || learned.kind == MetaKind::loss_weights;
  });
  const std::int64_t most = config.inner.differentiated_steps() - (first ? 0 : 1);
  const std::int64_t reuse = resolved_policy(config).reuse;
  return reuse < 0 ? most : std::min(reuse, most);
}

}  // namespace mixflow
