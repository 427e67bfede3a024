#include "config/warnings.h"

#include <string>
#include <variant>

#include "config/load.h"
#include "config/names.h"
#include "config/preset.h"
#include "util/text.h"

namespace mixflow {
namespace {

// Near a gradient of zero the derivative of Adam's first steps is 1 / sqrt(eps_root): in bf16 what
// rounding puts there outweighs the rest. It is as large there with a stopped denominator.
constexpr double kSmallestBf16EpsRoot = 1e-7;

}  // namespace

void add_warnings(Config& config) {
  const OptimizerKind kind = config.inner.optimizer.kind;
  const bool adaptive =
      kind == OptimizerKind::adam || kind == OptimizerKind::adamw || kind == OptimizerKind::rmsprop;
  if (config.precision == Precision::bf16 && adaptive &&
      config.gradient.mode != Mode::first_order &&
      config.inner.optimizer.eps_root < kSmallestBf16EpsRoot) {
    config.warnings.push_back(
        origin(config, "precision") + ": bf16 with inner.optimizer.eps_root " +
        number_text(config.inner.optimizer.eps_root) +
        " gives meta-gradients that are mostly rounding where inner gradients "
        "are near 0; raise it, to 1e-6, say, until mixflow check passes");
  }
  if (config.gradient.mode == Mode::finite_difference && config.precision != Precision::f64) {
    config.warnings.push_back(
        origin(config, "gradient.mode") +
        ": finite differences lose about half of the digits; set precision: f64");
  }
  const bool many_tasks = std::holds_alternative<SinusoidData>(config.data.source) ||
                          std::holds_alternative<EpisodesData>(config.data.source);
  if (config.inner.carries_state() && many_tasks) {
    config.warnings.push_back(origin(config, "inner.reset_every") + ": data.kind " +
                              config.data.kind +
                              " draws new tasks in every meta-step, so the inner state is carried "
                              "from one task to another");
  }
  const RematConfig& remat = config.gradient.remat;
  const std::int64_t reuse = resolved_policy(config).reuse;
  const auto nothing_to_reuse = [&](const std::string& key, const std::string& why) {
    config.warnings.push_back(origin(config, key) + ": " + why +
                              " nothing to gradient.remat.policy.reuse, " + std::to_string(reuse) +
                              " here");
  };
  if (reuse != 0 && !remat.step) {
    nothing_to_reuse("gradient.remat.step", "steps that keep all they compute leave");
  }
  if (reuse != 0 && !config.gradient.second_order()) {
    nothing_to_reuse("gradient.mode", std::string(name_of(config.gradient.mode)) +
                                          " differentiates no gradient, which leaves");
  }
  const std::int64_t differentiated = config.inner.differentiated_steps();
  const bool all_reused = reused_steps(config) == differentiated;
  if (!remat.save_inner_grads && (all_reused || !remat.step)) {
    config.warnings.push_back(
        origin(config, "gradient.remat.save_inner_grads") +
        ": false changes nothing, since steps keep more than their gradients: " +
        (remat.step ? "gradient.remat.policy.reuse is " + std::to_string(reuse)
                    : "gradient.remat.step is false"));
  }
  if (differentiated == config.inner.steps) return;
  for (std::size_t i = 0; i < config.meta.parameters.size(); ++i) {
    if (config.meta.parameters[i].granularity != Granularity::per_step) continue;
    config.warnings.push_back(
        origin(config, "meta.parameters[" + std::to_string(i) + "].granularity") +
        ": only the last inner.window " + std::to_string(differentiated) + " of " +
        std::to_string(config.inner.steps) + " values are learned, the others keep their start");
  }
}

}  // namespace mixflow
