#include "train/bf16_check.h"

#include <cmath>
#include <map>
#include <vector>

#include "config/load.h"
#include "meta/experiment.h"
#include "train/baseline.h"
#include "train/stage_run.h"
#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

// What the comparison costs, in meta-steps: one in bf16, and one in float32, whose products take up
// to nine times as long where the CPU has matrix units for bf16.
constexpr std::int64_t kCostInSteps = 10;
constexpr std::int64_t kLeastSteps = 20 * kCostInSteps;
constexpr double kNegligible = 1e-2;

using Tensors = std::vector<std::vector<double>>;

Tensors gradient(const Experiment& experiment, const TaskSource& source, const PlanOptions& plan) {
  StageRun run(experiment.grad, plan);
  draw_initial_values(experiment, run);
  run.fill(source, Split::train, 1, Precision::f32);
  run.run();
  Tensors tensors;
  for (const Port& port : experiment.eta) {
    tensors.push_back(run.results(meta_grad_name(port.name)));
  }
  return tensors;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// eta.lr.layers.0.bias -> eta.lr: gradients of one kind have one unit.
std::string kind_of(const std::string& name) { return name.substr(0, name.find('.', 4)); }

Bf16Figure worst(const Tensors& bf16, const Tensors& f32, const std::vector<Port>& eta) {
  std::map<std::string, double> squares;
  for (std::size_t i = 0; i < eta.size(); ++i) squares[kind_of(eta[i].name)] += dot(f32[i], f32[i]);
  Bf16Figure figure;
  for (std::size_t i = 0; i < eta.size(); ++i) {
    const double a = dot(bf16[i], bf16[i]), b = dot(f32[i], f32[i]);
    const double share = std::sqrt(b / squares[kind_of(eta[i].name)]);
    if (a == 0 && b == 0) continue;
    if (std::isfinite(a) && share < kNegligible) continue;
    const double cosine = dot(bf16[i], f32[i]) / std::sqrt(a * b);
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
  const Tensors bf16 = gradient(experiment, source, plan);
  plan.bf16 = false;
  const Bf16Figure figure = worst(bf16, gradient(experiment, source, plan), experiment.eta);
  if (figure.cosine >= kLeastBf16Cosine) return figure;
  throw RunError(origin(config, "precision") +
                 ": bf16 gives another meta-gradient than f32: that of " + figure.tensor +
                 " has cosine " + formatted("%.3g", figure.cosine) + " with it, below " +
                 number_text(kLeastBf16Cosine) + ". Raise inner.optimizer.eps_root (" +
                 number_text(config.inner.optimizer.eps_root) +
                 " here; 10 times at a time), give batches more examples, or set "
                 "precision: f32; "
                 "gradient.bf16_check: never trains all the same");
}

}  // namespace mixflow
