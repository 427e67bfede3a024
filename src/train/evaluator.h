// Held-out evaluation: the loss after several numbers of inner steps, over tasks that training
// never sees.
#pragma once

#include "train/metrics.h"
#include "train/stage_run.h"

namespace mixflow {

class Evaluator {
 public:
  Evaluator(const Experiment& experiment, const TaskSource& source, const PlanOptions& plan);

  // Evaluates the meta-parameters of `trained` on config.meta.eval.tasks tasks of `split`, the same
  // tasks every time.
  EvalResult run(const StageRun& trained, Split split, std::int64_t step);

 private:
  const Experiment& experiment_;
  const TaskSource& source_;
  StageRun stage_;
};

}  // namespace mixflow
