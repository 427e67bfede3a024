// Held-out evaluation: the loss after several numbers of inner steps, over tasks that training
// never sees.
#pragma once

#include <optional>

#include "train/metrics.h"
#include "train/stage_run.h"

namespace mixflow {

class Evaluator {
 public:
  Evaluator(const Experiment& experiment, const TaskSource& source, const PlanOptions& plan);

  // Evaluates the meta-parameters of `trained` on config.meta.eval.tasks tasks of `split`, the same
  // tasks every time.
  // A carried inner state of `trained`, after meta-step `step`, is evaluated as it stands, the
  // mean over its tasks and about as many held-out outer batches.
  EvalResult run(const StageRun& trained, Split split, std::int64_t step);

 private:
  double state_loss(const StageRun& trained, Split split);

  const Experiment& experiment_;
  const TaskSource& source_;
  StageRun stage_;
  std::optional<StageRun> state_;  // if the inner state is carried
};

}  // namespace mixflow
