// Small experiments that the tests of this folder share.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../data/batches.h"
#include "../util/testing.h"
#include "config/load.h"
#include "data/source.h"
#include "meta/experiment.h"
#include "train/baseline.h"
#include "train/inner_state.h"
#include "train/stage_run.h"

namespace mixflow {

using Settings = std::vector<std::string>;

// MAML on sinusoids, five tasks, three inner steps.
inline Config small_config(const Settings& settings = {}) {
  return parse_config(
      "data: {kind: sinusoid, shots: 4, queries: 3}\n"
      "model: {kind: mlp, hidden: [6], activation: tanh}\n"
      "inner: {steps: 3}\n"
      "meta: {parameters: [{kind: init}], batch: 5, steps: 10, eval: {tasks: 6}}\n",
      "small.yaml", settings);
}

// Classification with three classes in files of its own.
struct TabularFiles : TemporaryDirectory {
  TabularFiles() {
    write_rows(*this / "x.npy", 40, 3);
    write_labels(*this / "y.npy", cyclic_labels(40, 3));
  }
  Config config(const Settings& settings = {}) const {
    return parse_config(
        "data: {kind: tabular, x: x.npy, y: y.npy, batch: 8, normalize: unit}\n"
        "model: {kind: mlp, hidden: [5]}\n"
        "inner: {loss: cross_entropy, steps: 3}\n"
        "meta: {parameters: [{kind: lr}], steps: 10, eval: {tasks: 2}}\n",
        *this / "tabular.yaml", settings);
  }
};

// What one config becomes.
struct Built {
  std::unique_ptr<TaskSource> source;
  Experiment experiment;

  explicit Built(const Config& config)
      : source(make_source(config)),
        experiment(build_experiment(config, *source, compute_type(config))) {}
};

// Everything that one meta-step reads.
inline void give_step(const Built& built, StageRun& run, std::int64_t t) {
  run.set_scalar("meta_lr", built.experiment.config.meta.optimizer.lr);
  run.set_scalar("meta_step", static_cast<double>(t));
  give_inner_state(built.experiment.config.inner, t, run);
  run.fill(*built.source, Split::train, static_cast<std::uint64_t>(t),
           built.experiment.config.precision);
}

}  // namespace mixflow
