#include "train/bf16_check.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "config/load.h"
#include "meta/experiment.h"
#include "train/baseline.h"
#include "train/memory_check.h"
#include "train/stage_run.h"
#include "train/tensors.h"
#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

// What the comparison costs, in meta-steps: one in bf16, and one in float32, whose products take up
// to nine times as long where the CPU has matrix units for bf16.
constexpr std::int64_t kCostInSteps = 10;
constexpr std::int64_t kLeastSteps = 20 * kCostInSteps;

Tensors first_gradient(const Experiment& experiment, const TaskSource& source,
                       const PlanOptions& plan) {
  StageRun run(experiment.grad, fitting(experiment.grad, plan, experiment.config), {});
  draw_initial_values(experiment, run);
  run.fill(source, Split::train, 1, Precision::f32);
  run.run();
  Tensors tensors;
  for (const Port& port : experiment.eta) {
    tensors.push_back(run.results(meta_grad_name(port.name)));
  }
  return tensors;
}

Bf16Figure worst_tensor(const Tensors& bf16, const Tensors& f32, const std::vector<Port>& eta) {
  const std::vector<double> kinds = kind_norms(f32, eta);
  Bf16Figure figure;
  for (std::size_t i = 0; i < eta.size(); ++i) {
    const double a = norm(bf16[i]), b = norm(f32[i]);
    if (a == 0 && b == 0) continue;
    if (std::isfinite(a) && b < kNegligible * kinds[i]) continue;
    const double product = std::inner_product(bf16[i].begin(), bf16[i].end(), f32[i].begin(), 0.0);
    const double cosine = product / (a * b);
    // NaN is worse than any number.
    if (!(cosine >= figure.cosine)) figure = {eta[i].name, cosine};
    if (std::isnan(cosine)) break;
  }
  return figure;
}

}  // namespace

std::optional<Bf16Figure> check_bf16(const Config& config, const TaskSource& source, int threads) {
  const Bf16Check check = config.gradient.bf16_check;
  if (config.precision != Precision::bf16 || check == Bf16Check::never) return std::nullopt;
  if (config.gradient.mode == Mode::finite_difference) return std::nullopt;
  if (check == Bf16Check::automatic && config.meta.steps < kLeastSteps) return std::nullopt;
  const Experiment experiment = build_experiment(config, source, DType::f32, {.grad = true});
  PlanOptions plan = plan_options(config, threads);
  const Tensors bf16 = first_gradient(experiment, source, plan);
  plan.bf16 = false;
  const Bf16Figure figure =
      worst_tensor(bf16, first_gradient(experiment, source, plan), experiment.eta);
  if (figure.cosine >= kLeastBf16Cosine) return figure;
  throw RunError(origin(config, "precision") +
                 ": bf16 gives another meta-gradient than f32: that of " + figure.tensor +
                 " has cosine " + formatted("%.3g", figure.cosine) + " with it, below " +
                 number_text(kLeastBf16Cosine) + ". Raise inner.optimizer.eps_root (" +
                 number_text(config.inner.optimizer.eps_root) +
                 " here; 10 times at a time), give batches more examples, or set "
                 "precision: f32; gradient.bf16_check: never trains all the same");
}

}  // namespace mixflow
