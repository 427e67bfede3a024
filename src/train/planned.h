// The plan of one meta-step of a config, in numbers: what `plan` lists and `bench` measures
// against.
#pragma once

#include <string>

#include "data/source.h"
#include "plan/program.h"
#include "train/matmul_peak.h"

namespace mixflow {

struct PlannedStep {
  std::string mode;
  int threads = 1;
  bool bf16 = false;
  std::int64_t theta_size = 0;  // number of inner parameters
  std::int64_t static_bytes = 0, dynamic_bytes = 0;
  std::int64_t flop = 0, model_flop = 0, nodes = 0;
  double plan_s = 0;  // graphs, passes and plan
  // What is alive at the peak, and of how much workspace.
  std::vector<Live> peak;
  std::vector<Phase> phases;
  std::int64_t workspace_bytes = 0;
};

// What a training run needs: meta-steps and evaluations take turns in one arena.
struct PlannedRun {
  std::int64_t static_bytes = 0, dynamic_bytes = 0, flop = 0;  // of one meta-step
  std::int64_t held_bytes = 0;  // by the whole run: inputs of all stages, and the arena
};

// Threads that a run of the config uses.
int threads_of(const Config& config);

// Builds the graphs of one meta-step and plans them; nothing is allocated or run.
PlannedStep plan_meta_step(const Config& config, const DataSchema& source);

PlannedRun plan_run(const Config& config, const DataSchema& source);

// Seconds at the matmul peak (matmul_peak.h) of the plan's threads and operands.
double predicted_seconds(const PlannedStep& plan);

}  // namespace mixflow
