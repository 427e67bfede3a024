// A small experiment whose stages take tensors from files.
#pragma once

#include <memory>

#include "config/load.h"
#include "data/source.h"
#include "fuzz.h"
#include "train/baseline.h"
#include "train/stage_run.h"

namespace mixflow {

struct SmallRun {
  Config config = parse_config(
      "data: {kind: random_tokens, sequence: 3, batch: 1}\n"
      "model: {kind: transformer, vocab: 8, d_model: 2, ffw: 2, heads: 1, kv_size: 2, layers: 1}\n"
      "inner: {steps: 1, optimizer: {kind: sgd, lr: 0.01}}\n"
      "meta: {parameters: [{kind: lr, granularity: per_tensor}], batch: 1, steps: 9}\n",
      "c.yaml", {});
  std::unique_ptr<TaskSource> source = make_source(config);
  Experiment experiment =
      build_experiment(config, *source, DType::f32, {.train = true, .grad = true});
  StageRun grad{experiment.grad, plan_options(config, 1)};
  StageRun train{experiment.train, plan_options(config, 1)};
};

}  // namespace mixflow
