#include "train/planned.h"

#include <chrono>
#include <map>

#include "config/names.h"
#include "kernels/cpu.h"
#include "train/baseline.h"
#include "train/stage_run.h"
#include "train/threads.h"

namespace mixflow {

int threads_of(const Config& config) {
  return config.threads > 0 ? config.threads : usable_cores();
}

PlannedStep plan_meta_step(const Config& config, const TaskSource& source) {
  PlannedStep plan;
  plan.mode = std::string(name_of(config.gradient.mode));
  plan.threads = threads_of(config);
  plan.bf16 = config.precision == Precision::bf16;
  const auto start = std::chrono::steady_clock::now();
  const Experiment experiment =
      build_experiment(config, source, compute_type(config), {.train = true, .model_flop = true});
  const ProgramPtr program = compile_stage(experiment.train, plan_options(config, plan.threads));
  plan.plan_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
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

double matmul_peak(int threads, bool bf16) {
  static std::map<std::pair<int, bool>, double> known;
  double& peak = known[{threads, bf16}];
  if (peak == 0) {
    start_threads(threads);
    peak = measure_matmul_gflops(threads, bf16);
  }
  return peak;
}

double predicted_seconds(const PlannedStep& plan) {
  return static_cast<double>(plan.flop) / (matmul_peak(plan.threads, plan.bf16) * 1e9);
}

}  // namespace mixflow
