// Held-out evaluation: the loss after several numbers of inner steps, over tasks that training
// never sees.
#pragma once

#include "train/metrics.h"
#include "train/stage_run.h"

namespace mixflow {

class Evaluator {
 public:
  // Evaluates the meta-parameters of `trained`, in its memory: its arena has at least the
  // program's dynamic bytes, and what `trained` put out is gone after a run.
  Evaluator(const Experiment& experiment, const TaskSource& source, ProgramPtr program,
            const StageRun& trained);

  // On config.meta.eval.tasks tasks of `split`, the same tasks every time.
  EvalResult run(Split split, std::int64_t step);

 private:
  const Experiment& experiment_;
  const TaskSource& source_;
  StageRun stage_;
};

}  // namespace mixflow
