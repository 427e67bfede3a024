#include "train/evaluator.h"

#include <algorithm>

#include "train/inner_state.h"
#include "util/error.h"
#include "util/interval.h"

namespace mixflow {
Evaluator::Evaluator(const Experiment& experiment, const TaskSource& source, ProgramPtr program,
                     const StageRun& trained, ProgramPtr state_program)
    : experiment_(experiment),
      source_(source),
      stage_(experiment.eval, std::move(program), beside(trained, experiment.eval)) {
  const bool carried = experiment.config.inner.carries_state();
  MIXFLOW_CHECK(carried == (state_program != nullptr), "a program for the carried state, if any");
  if (!carried) return;
  state_.emplace(experiment.state_eval, std::move(state_program),
                 beside(trained, experiment.state_eval));
}

double Evaluator::state_loss(Split split) {
  const std::int64_t tasks = experiment_.config.meta.batch;
  Moments loss;
  for (std::int64_t first = 0; first < experiment_.config.meta.eval.tasks; first += tasks) {
    state_->fill(source_, split, static_cast<std::uint64_t>(first / tasks),
                 experiment_.config.precision);
    state_->run();
    for (const double value : state_->results("state_loss")) loss.add(value);
  }
  return loss.mean();
}

EvalResult Evaluator::run(Split split, std::int64_t step) {
  const EvalConfig& config = experiment_.config.meta.eval;
  EvalResult result{
      .step = step, .split = split, .has_accuracy = experiment_.eval.output("eval_accuracy") >= 0};
  const std::size_t points = config.steps.size();
  std::vector<Moments> loss(points), accuracy(points);
  const std::int64_t batch = experiment_.eval_batch;
  for (std::int64_t first = 0; first < config.tasks; first += batch) {
    stage_.fill(source_, split, static_cast<std::uint64_t>(first / batch),
                experiment_.config.precision);
    stage_.run();
    const std::vector<double> losses = stage_.results("eval_loss");
    const std::vector<double> accuracies =
        result.has_accuracy ? stage_.results("eval_accuracy") : std::vector<double>{};
    for (std::int64_t task = 0; task < std::min(batch, config.tasks - first); ++task) {
      for (std::size_t p = 0; p < points; ++p) {
        const std::size_t at = static_cast<std::size_t>(task) * points + p;
        loss[p].add(losses[at]);
        if (result.has_accuracy) accuracy[p].add(accuracies[at]);
      }
    }
  }
  result.tasks = loss[0].count();
  for (std::size_t p = 0; p < points; ++p) {
    EvalPoint point{.inner_steps = config.steps[p], .loss = loss[p].mean()};
    point.loss_ci95 = mean_ci95(loss[p].variance(), result.tasks);
    if (result.has_accuracy) {
      point.accuracy = accuracy[p].mean();
      point.accuracy_ci95 = mean_ci95(accuracy[p].variance(), result.tasks);
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
