// The meta-gradient by central differences of the objective: two unrolls per entry of eta. For
// checking, and for training a handful of meta-parameters through anything.
#pragma once

#include <vector>

#include "train/stage_run.h"

namespace mixflow {

class FiniteDifference {
 public:
  FiniteDifference(const Experiment& experiment, const PlanOptions& plan);

  // Reads eta, theta_0 and data of `run`; returns dJ/d eta[tensor][entry], J the mean outer loss
  // over tasks, with steps gradient.finite_difference_eps * max(1, |entry|). Tensors in the order
  // of experiment.eta.
  std::vector<std::vector<double>> gradient(const StageRun& run);

 private:
  double objective();

  const Experiment& experiment_;
  StageRun stage_;
};

}  // namespace mixflow
