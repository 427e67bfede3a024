// Held-out evaluation: the loss after several numbers of inner steps, over tasks that training
// never sees.
#pragma once

#include <optional>

#include "train/metrics.h"
#include "train/stage_run.h"

namespace mixflow {

class Evaluator {
 public:
  // Evaluates the meta-parameters of `trained`, in its memory: its arena has at least the
  // programs' dynamic bytes, and what `trained` put out is gone after a run. `state_program`: of
  // the experiment's state_eval, where the inner state is carried.
  Evaluator(const Experiment& experiment, const TaskSource& source, ProgramPtr program,
            const StageRun& trained, ProgramPtr state_program = nullptr);

  // On config.meta.eval.tasks tasks of `split`, the same tasks every time. A carried inner state,
  // after meta-step `step`, is evaluated as it stands: the mean over its tasks and about as many
  // held-out outer batches.
  EvalResult run(Split split, std::int64_t step);

 private:
  double state_loss(Split split);

  const Experiment& experiment_;
  const TaskSource& source_;
  StageRun stage_;
  std::optional<StageRun> state_;  // if the inner state is carried
};

}  // namespace mixflow
