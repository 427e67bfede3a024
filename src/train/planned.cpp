#include "train/planned.h"

#include <algorithm>

#include "config/names.h"
#include "kernels/cpu.h"
#include "train/baseline.h"
#include "train/memory_check.h"
#include "train/meta_step.h"
#include "train/stage_run.h"
#include "util/clock.h"

namespace mixflow {
int threads_of(const Config& config) {
  return config.threads > 0 ? config.threads : usable_cores();
}

PlannedStep plan_meta_step(const Config& config, const DataSchema& source) {
  PlannedStep plan;
  plan.mode = std::string(name_of(config.gradient.mode));
  plan.threads = threads_of(config);
  plan.bf16 = config.precision == Precision::bf16;
  const Clock::time_point start = Clock::now();
  const Experiment experiment =
      build_experiment(config, source, compute_type(config), {.train = true, .model_flop = true});
  const ProgramPtr program = compile_stage(experiment.train, plan_options(config, plan.threads));
  plan.plan_s = seconds_since(start);
  plan.theta_size = experiment.theta_size;
  plan.static_bytes = program->static_bytes;
  plan.dynamic_bytes = program->dynamic_bytes;
  plan.flop = program->flop;
  plan.model_flop = experiment.model_flop;
  plan.nodes = program->nodes;
  plan.peak = program->body->peak;
  plan.phases = program->body->phases;
  plan.workspace_bytes = program->workspace_bytes;
  return plan;
}

PlannedRun plan_run(const Config& config, const DataSchema& source) {
  Parts parts = meta_step_parts(config);
  parts.eval = true;
  parts.model_flop = false;
  const PlanOptions options = plan_options(config, threads_of(config));
  const Experiment experiment = build_experiment(config, source, compute_type(config), parts);
  const ProgramPtr train = compile_stage(experiment.train, options);
  PlannedRun run{.static_bytes = train->static_bytes,
                 .dynamic_bytes = train->dynamic_bytes,
                 .flop = train->flop};
  std::int64_t arena_bytes = train->dynamic_bytes;
  run.held_bytes = train->static_bytes;
  const auto add_evaluation = [&](const Stage& stage) {
    arena_bytes = std::max(arena_bytes, compile_stage(stage, options)->dynamic_bytes);
    run.held_bytes += data_input_bytes(stage);
  };
  for (const Stage* stage : {&experiment.eval, &experiment.state_eval, &experiment.validation_eval,
                             &experiment.validation_state_eval}) {
    if (stage->graph) add_evaluation(*stage);
  }
  if (parts.objective) {  // a stage of its own, beside the arena
    const ProgramPtr objective = compile_stage(experiment.objective, options);
    run.held_bytes += objective->static_bytes + objective->dynamic_bytes;
  }
  run.held_bytes += arena_bytes;
  return run;
}

double predicted_seconds(const PlannedStep& plan) {
  return static_cast<double>(plan.flop) / (matmul_peak(plan.threads, plan.bf16) * 1e9);
}

}  // namespace mixflow
