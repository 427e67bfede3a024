// Held-out evaluation: the loss after several numbers of inner steps, over tasks that training
// never sees.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "train/metrics.h"
#include "train/stage_run.h"

namespace mixflow {

// The compiled evaluation stages of an experiment; null for those it has no graph of.
struct EvalPrograms {
  ProgramPtr eval, state_eval, validation_eval, validation_state_eval;
  std::int64_t dynamic_bytes() const;  // of the largest
};
EvalPrograms compile_evals(const Experiment& experiment, const PlanOptions& plan);

// What is evaluated while training goes on, where meta.eval.every asks for it: validation data,
// which choose the best state, and test data where training moves the meta-parameters on the
// validation data.
std::vector<Split> watched_splits(const TaskSource& source);

class Evaluator {
 public:
  using Progress = std::function<void(std::int64_t done, std::int64_t tasks)>;

  // Evaluates the meta-parameters of `trained`, in its memory: its arena has at least the
  // programs' dynamic bytes, and what `trained` put out is gone after a run.
  Evaluator(const Experiment& experiment, const TaskSource& source, EvalPrograms programs,
            const StageRun& trained);

  // On config.meta.eval.tasks tasks of a held-out split, the same tasks every time; once where the
  // split has one task, and then with intervals over its examples. A carried inner state, after
  // meta-step `step`, is evaluated as it stands: the mean over its tasks and about as many held-out
  // outer batches. `progress` is told after each run of the stage.
  EvalResult run(Split split, std::int64_t step, const Progress& progress = {});

 private:
  StageRun& stage_of(Split split);
  double state_loss(Split split);

  const Experiment& experiment_;
  const TaskSource& source_;
  StageRun stage_;
  std::optional<StageRun> validation_;                // if its batches have another size
  std::optional<StageRun> state_, validation_state_;  // if the inner state is carried
};

}  // namespace mixflow
