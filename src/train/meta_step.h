// One meta-step as training does it: its data, its learning rate, the planned graph. What `train`
// repeats and `bench` times.
#pragma once

#include <optional>

#include "train/finite_difference.h"
#include "train/stage_run.h"

namespace mixflow {

// What of an experiment its meta-steps need.
inline Parts meta_step_parts(const Config& config) {
  return {.train = true,
          .objective = config.gradient.mode == Mode::finite_difference,
          .model_flop = true};
}

class MetaStep {
 public:
  // `program` is that of experiment.train. `experiment` (of at least meta_step_parts) and `source`
  // must outlive it. Starting values are not drawn.
  MetaStep(const Experiment& experiment, const TaskSource& source, ProgramPtr program,
           ExecutorOptions executor = {});

  // Meta-step t, from 1. The results are in stage() until the next. `trace`: see Executor::run.
  void run(std::int64_t t, Trace* trace = nullptr);
  // What run does before the graph: its inputs, with which the graph can be run some other way.
  void prepare(std::int64_t t);

  StageRun& stage() { return train_; }
  const StageRun& stage() const { return train_; }

 private:
  const Experiment& experiment_;
  const TaskSource& source_;
  StageRun train_;
  std::optional<FiniteDifference> differences_;
};

}  // namespace mixflow
