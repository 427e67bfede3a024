#include "config/warnings.h"

#include <string>
#include <variant>

#include "config/idle.h"
#include "config/load.h"
#include "config/names.h"
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
        "are near 0; remove it (its default in bf16 is 1e-6), or raise it until mixflow check "
        "passes");
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
  for (const IdleSetting& setting : idle_settings(config)) {
    config.warnings.push_back(idle_text(config, setting));
  }
}

}  // namespace mixflow
