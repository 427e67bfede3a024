#include "train/diagnosis.h"

#include <algorithm>
#include <cmath>

#include "config/preset.h"
#include "train/causes.h"
#include "util/text.h"

namespace mixflow {
namespace {

std::string four_digits(double value) {
  return std::isnan(value) ? "nan" : formatted("%.4g", value);
}

bool is_unroll(const std::string& label) {
  return label.starts_with("unroll") && label.find('/') == std::string::npos;
}

// The inner step, from 1, of an iteration of one of the loops that the unroll consists of: those
// before the window, those after it, and the last ones, which keep more. 0: it cannot be told.
std::int64_t inner_step(const Iteration& loop, const Config& config) {
  const std::int64_t steps = config.inner.steps;
  const std::int64_t differentiated = config.inner.differentiated_steps();
  const std::int64_t before = steps - differentiated;
  const std::int64_t reused = reused_steps(config);
  if (loop.n == steps || loop.label.starts_with("unroll before the window")) return loop.index + 1;
  if (loop.n == differentiated) return before + loop.index + 1;
  if (loop.n == differentiated - reused && loop.n != reused) return before + loop.index + 1;
  if (loop.n == reused && loop.n != differentiated - reused) return steps - reused + loop.index + 1;
  return 0;
}

// "in inner step 3 of 5 of task 2"
std::string where_in_loops(const std::vector<Iteration>& loops, const Config& config) {
  std::string text, task;
  for (const Iteration& loop : loops) {
    if (is_unroll(loop.label)) {
      const std::int64_t step = inner_step(loop, config);
      text += step > 0 ? "in inner step " + std::to_string(step) + " of " +
                             std::to_string(config.inner.steps)
                       : "in an inner step";
      if (loop.label.find("bar") != std::string::npos) text += ", on the way back";
    } else if (loop.label.ends_with("blocks") || loop.label.find("/blocks ") != std::string::npos) {
      text += (text.empty() ? "in block " : ", block ") + std::to_string(loop.index + 1);
    } else if (loop.parallel && task.empty() && text.empty() && loop.n == config.meta.batch) {
      task = " of task " + std::to_string(loop.index + 1);
    }
  }
  return text + (text.empty() && !task.empty() ? "in" + task.substr(3) : task);
}

struct Result {
  std::string name;
  const std::byte* data;
  std::int64_t bytes;
};

// The results of a step in the order in which they are asked about.
std::vector<Result> results_of(const Stage& stage, const Executor& executor) {
  std::vector<Result> results;
  const auto add = [&](int j) {
    results.push_back({stage.outputs[static_cast<std::size_t>(j)].name, executor.output(j),
                       executor.output_bytes(j)});
  };
  for (const char* name : {"outer_loss", "meta_grad_norm"}) {
    if (const int j = stage.output(name); j >= 0) add(j);
  }
  for (std::size_t j = 0; j < stage.outputs.size(); ++j) {
    const std::string& name = stage.outputs[j].name;
    if (name != "outer_loss" && name != "meta_grad_norm") add(static_cast<int>(j));
  }
  return results;
}

// Of each inner step: of the first task whose losses are not all finite, where tasks have their
// own.
std::vector<double> inner_losses(const StageRun& run, const Config& config) {
  const std::vector<double> all = run.results("inner_loss");
  const auto steps = static_cast<std::ptrdiff_t>(config.inner.steps);
  for (auto task = all.begin(); all.end() - task >= steps; task += steps) {
    if (!std::all_of(task, task + steps, [](double x) { return std::isfinite(x); }))
      return {task, task + steps};
  }
  return {all.begin(), all.begin() + std::min<std::ptrdiff_t>(steps, std::ssize(all))};
}

// The same step with its loops as loops, on the same inputs and, where it fits, in the same arena.
std::unique_ptr<StageRun> with_loops(StageRun& train) {
  PlanOptions options = train.program().options;
  options.inline_loops = false;
  ProgramPtr program = compile_stage(train.stage(), options);
  ExecutorOptions executor;
  if (train.executor().arena()->bytes() >= program->dynamic_bytes)
    executor.arena = train.executor().arena();
  for (const Port& port : train.stage().inputs)
    executor.inputs.push_back(train.input(port.name).data());
  return std::make_unique<StageRun>(train.stage(), std::move(program), std::move(executor));
}

}  // namespace

std::string describe(const Origin& origin, const Stage& stage, const Config& config) {
  const std::string place = place_in(origin.type.shape, origin.element);
  if (origin.input >= 0) {
    const Port& port = stage.inputs[static_cast<std::size_t>(origin.input)];
    return port.name + place + " was " + four_digits(origin.value) + " before the step";
  }
  std::string text = where_in_loops(origin.loops, config);
  text += (text.empty() ? "" : ": ") + origin.op;
  if (!origin.operands.empty()) {
    text += " of ";
    for (std::size_t i = 0; i < origin.operands.size(); ++i)
      text += (i == 0 ? "" : " and ") + four_digits(origin.operands[i]);
  }
  text += " gave " + four_digits(origin.value);
  if (!place.empty()) text += " at " + place;
  text += " of " + to_string(origin.type);
  if (!origin.label.empty()) text += " in \"" + origin.label + "\"";
  return text;
}

std::string diagnose(const Experiment& experiment, StageRun& train) {
  const StepFacts facts = facts_of(experiment, train);
  std::unique_ptr<StageRun> looped;
  if (train.program().options.inline_loops) looped = with_loops(train);
  StageRun& run = looped ? *looped : train;
  NonFiniteWatch watch(run.program().options.threads);
  run.executor().run_watched(watch);
  for (const Result& result : results_of(run.stage(), run.executor())) {
    const std::optional<Origin> origin = watch.origin_of(result.data, result.bytes);
    if (!origin) continue;
    const bool loss_is_finite = result.name != "outer_loss";  // which is asked about first
    const std::string told = describe(*origin, run.stage(), experiment.config);
    return "The first of them came " + (told.starts_with("in ") ? told : "from " + told) +
           ". Likely cause: " +
           likely_cause(experiment, facts, *origin, inner_losses(run, experiment.config),
                        loss_is_finite);
  }
  return "";
}

}  // namespace mixflow
