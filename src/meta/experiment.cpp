#include "meta/experiment.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <span>

#include "meta/detached.h"
#include "meta/stages.h"
#include "util/error.h"

namespace mixflow {
namespace {

// At most this many tasks are evaluated by one run of the eval stage.
constexpr std::int64_t kEvalBatch = 64;

// What evaluations may cost where the config leaves the number of tasks open, as a share of the
// training's FLOPs, and the numbers to choose from.
constexpr double kEvalShare = 0.1;
constexpr std::int64_t kEvalTasks[] = {100, 64, 32, 16, 8, 4};

std::int64_t largest_divisor(std::int64_t n, std::int64_t limit) {
  std::int64_t divisor = std::min(n, limit);
  while (n % divisor != 0) --divisor;
  return divisor;
}

std::vector<std::int64_t> eval_points(const Config& config) {
  std::set<std::int64_t> points(config.meta.eval.steps.begin(), config.meta.eval.steps.end());
  if (points.empty()) points = {0, config.inner.steps};
  return {points.begin(), points.end()};
}

// Tasks of one evaluation. A task that is always the same tells everything at once.
std::int64_t eval_tasks(const Config& config, const DataSchema& source, const StageBuilder& stages,
                        std::span<const std::int64_t> points, std::int64_t model_flop) {
  if (source.one_task(Split::test) && source.one_task(Split::validation)) return 1;
  const EvalConfig& eval = config.meta.eval;
  if (eval.tasks > 0) return eval.tasks;
  const auto flop = [](std::int64_t count) { return static_cast<double>(count); };
  const double ends = 2;
  const double along = eval.every > 0 ? flop(config.meta.steps / eval.every) : 0;
  const double budget = kEvalShare * flop(model_flop) * flop(config.meta.steps);
  const double task = (ends + along) * flop(stages.eval_flop(points));
  for (const std::int64_t tasks : kEvalTasks) {
    if (flop(tasks) * task <= budget) return tasks;
  }
  return std::end(kEvalTasks)[-1];
}

std::vector<InitialValue> initial_values(const StageBuilder& stages) {
  std::vector<InitialValue> initial;
  for (const EtaTensor& tensor : stages.eta()) initial.push_back(tensor.initial);
  if (stages.meta_init()) return initial;
  for (const Parameter& parameter : stages.model().parameters()) {
    initial.push_back(
        {"theta." + parameter.name, parameter.init, parameter.deviation, parameter.value});
  }
  return initial;
}

int find_port(const std::vector<Port>& ports, std::string_view name) {
  const auto it = std::ranges::find(ports, name, &Port::name);
  return it == ports.end() ? -1 : static_cast<int>(it - ports.begin());
}

}  // namespace

std::string meta_grad_name(std::string_view eta_name) {
  return "meta_grad." + std::string(eta_name.substr(std::string_view("eta.").size()));
}

std::string carried_theta_name(std::string_view tensor) {
  return "inner_state.theta." + std::string(tensor);
}

std::string carried_opt_state_name(std::string_view state, std::string_view tensor) {
  return "inner_state." + std::string(state) + "." + std::string(tensor);
}

int Stage::input(std::string_view name) const { return find_port(inputs, name); }

int Stage::output(std::string_view name) const { return find_port(outputs, name); }

Experiment build_experiment(const Config& config, const DataSchema& source, DType dtype,
                            const Parts& parts) {
  MIXFLOW_CHECK(is_float(dtype), "an experiment computes in f32 or f64");
  MIXFLOW_CHECK(!config.meta.parameters.empty(), "the loader lets no empty list pass");
  refuse_cancelled(config);
  const StageBuilder stages(config, source, dtype);
  Experiment experiment;
  experiment.config = config;
  experiment.dtype = dtype;
  for (const EtaTensor& tensor : stages.eta()) {
    experiment.eta.push_back({tensor.name, Role::eta, {dtype, tensor.shape}});
  }
  experiment.initial = initial_values(stages);
  if (parts.train) experiment.train = stages.train();
  if (parts.grad) experiment.grad = stages.grad();
  if (parts.objective) experiment.objective = stages.objective();
  const bool open_tasks = parts.eval && config.meta.eval.tasks == 0;
  const std::int64_t model_flop = parts.model_flop || open_tasks ? stages.model_flop() : 0;
  if (parts.model_flop) experiment.model_flop = model_flop;
  const std::vector<std::int64_t> points = eval_points(config);
  experiment.config.meta.eval.steps = points;
  if (parts.eval) {
    const std::int64_t tasks = eval_tasks(config, source, stages, points, model_flop);
    experiment.config.meta.eval.tasks = tasks;
    experiment.eval_batch = largest_divisor(tasks, kEvalBatch);
    const bool carried = config.inner.carries_state();
    experiment.eval = stages.eval(experiment.eval_batch, points, Split::test);
    if (carried) experiment.state_eval = stages.state_eval(Split::test);
    if (source.outer_batch(Split::validation) != source.outer_batch(Split::test)) {
      experiment.validation_eval = stages.eval(experiment.eval_batch, points, Split::validation);
      if (carried) experiment.validation_state_eval = stages.state_eval(Split::validation);
    }
  }
  experiment.inner_loss = stages.inner_loss();
  experiment.theta_size = stages.model().size();
  return experiment;
}

}  // namespace mixflow
