#include "train/evaluator.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "train/inner_state.h"
#include "util/error.h"
#include "util/interval.h"

namespace mixflow {
namespace {

ProgramPtr compile_if_any(const Stage& stage, const PlanOptions& plan) {
  return stage.graph ? compile_stage(stage, plan) : nullptr;
}

void emplace_if_any(std::optional<StageRun>& run, const Stage& stage, ProgramPtr program,
                    const StageRun& trained) {
  MIXFLOW_CHECK((stage.graph != nullptr) == (program != nullptr), "one program per graph");
  if (program) run.emplace(stage, std::move(program), beside(trained, stage));
}

bool learns_start(const Config& config) {
  return std::ranges::any_of(config.meta.parameters, [](const MetaParameter& parameter) {
    return parameter.kind == MetaKind::init;
  });
}

}  // namespace

std::int64_t EvalPrograms::dynamic_bytes() const {
  std::int64_t bytes = 0;
  for (const ProgramPtr& program : {eval, state_eval, validation_eval, validation_state_eval}) {
    if (program) bytes = std::max(bytes, program->dynamic_bytes);
  }
  return bytes;
}

EvalPrograms compile_evals(const Experiment& experiment, const PlanOptions& plan) {
  return {compile_stage(experiment.eval, plan), compile_if_any(experiment.state_eval, plan),
          compile_if_any(experiment.validation_eval, plan),
          compile_if_any(experiment.validation_state_eval, plan)};
}

std::vector<Split> watched_splits(const TaskSource& source) {
  std::vector<Split> splits{Split::validation};
  if (source.trains_on_validation() && source.final_split() == Split::test) {
    splits.push_back(Split::test);
  }
  return splits;
}

Evaluator::Evaluator(const Experiment& experiment, const TaskSource& source, EvalPrograms programs,
                     const StageRun& trained)
    : experiment_(experiment),
      source_(source),
      stage_(experiment.eval, std::move(programs.eval), beside(trained, experiment.eval)) {
  emplace_if_any(state_, experiment.state_eval, std::move(programs.state_eval), trained);
  emplace_if_any(validation_, experiment.validation_eval, std::move(programs.validation_eval),
                 trained);
  emplace_if_any(validation_state_, experiment.validation_state_eval,
                 std::move(programs.validation_state_eval), trained);
}

StageRun& Evaluator::stage_of(Split split) {
  return split == Split::validation && validation_ ? *validation_ : stage_;
}

double Evaluator::state_loss(Split split) {
  StageRun& state = split == Split::validation && validation_state_ ? *validation_state_ : *state_;
  const std::int64_t tasks = experiment_.config.meta.batch;
  Moments loss;
  for (std::int64_t first = 0; first < experiment_.config.meta.eval.tasks; first += tasks) {
    state.fill(source_, split, static_cast<std::uint64_t>(first / tasks),
               experiment_.config.precision);
    state.run();
    for (const double value : state.results("state_loss")) loss.add(value);
  }
  return loss.mean();
}

EvalResult Evaluator::run(Split split, std::int64_t step, const Progress& progress) {
  const EvalConfig& config = experiment_.config.meta.eval;
  StageRun& stage = stage_of(split);
  const bool one_task = stage.stage().output("eval_variance") >= 0;
  EvalResult result{.step = step,
                    .split = split,
                    .examples = one_task ? source_.outer_batch(split) : 0,
                    .repetitions = source_.one_outer_batch(split),
                    .trained_on = split == Split::validation && source_.trains_on_validation(),
                    .trained_start = !learns_start(experiment_.config),
                    .has_accuracy = stage.stage().output("eval_accuracy") >= 0};
  const std::size_t points = config.steps.size();
  std::vector<Moments> loss(points), accuracy(points);
  const std::int64_t batch = experiment_.eval_batch;
  for (std::int64_t first = 0; first < config.tasks; first += batch) {
    stage.fill(source_, split, static_cast<std::uint64_t>(first / batch),
               experiment_.config.precision);
    stage.run();
    const std::vector<double> losses = stage.results("eval_loss");
    const std::vector<double> accuracies =
        result.has_accuracy ? stage.results("eval_accuracy") : std::vector<double>{};
    for (std::int64_t task = 0; task < std::min(batch, config.tasks - first); ++task) {
      for (std::size_t p = 0; p < points; ++p) {
        const std::size_t at = static_cast<std::size_t>(task) * points + p;
        loss[p].add(losses[at]);
        if (result.has_accuracy) accuracy[p].add(accuracies[at]);
      }
    }
    if (progress) progress(std::min(first + batch, config.tasks), config.tasks);
  }
  result.tasks = loss[0].count();
  const std::vector<double> variances =
      one_task ? stage.results("eval_variance") : std::vector<double>{};
  const std::int64_t n = one_task ? result.examples : result.tasks;
  for (std::size_t p = 0; p < points; ++p) {
    EvalPoint point{.inner_steps = config.steps[p], .loss = loss[p].mean()};
    // The stage divides by n, the interval takes the sample's variance.
    const double variance = one_task && n > 1
                                ? variances[p] * static_cast<double>(n) / static_cast<double>(n - 1)
                                : loss[p].variance();
    point.loss_ci95 = mean_ci95(variance, n);
    if (result.has_accuracy) {
      point.accuracy = accuracy[p].mean();
      point.accuracy_ci95 =
          one_task ? share_ci95(point.accuracy, n) : mean_ci95(accuracy[p].variance(), n);
    }
    result.points.push_back(point);
  }
  if (state_) {
    result.state_loss = state_loss(split);
    result.state_inner_steps = inner_steps_after(experiment_.config.inner, step);
  }
  return result;
}

}  // namespace mixflow
