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

// Two tasks on random tokens for a small transformer.
inline Config transformer_config(const Settings& settings = {}) {
  return parse_config(
      "data: {kind: random_tokens, sequence: 3, batch: 2, outer_batch: 1}\n"
      "model: {kind: transformer, vocab: 7, d_model: 4, ffw: 5, heads: 2, kv_size: 4, layers: 2}\n"
      "inner: {steps: 2}\n"
      "meta: {parameters: [{kind: init}], batch: 2, steps: 10, eval: {tasks: 2}}\n",
      "transformer.yaml", settings);
}

inline const std::string kRatesPerWeight = "{kind: lr, granularity: per_parameter}";
inline const std::string kScorer =
    "{kind: loss_weights, "
    "model: {kind: transformer, d_model: 6, ffw: 3, heads: 1, kv_size: 2, layers: 2}}";

// The sixteen modes and remat choices that differ: without remat.step, save_inner_grads changes
// nothing.
inline std::vector<Settings> remat_choices() {
  std::vector<Settings> choices;
  for (const std::string mode : {"mixed", "reverse"}) {
    for (const std::string block : {"true", "false"}) {
      for (const std::string step : {"step: true, save_inner_grads: true",
                                     "step: true, save_inner_grads: false", "step: false"}) {
        choices.push_back(
            {"gradient.mode=" + mode, "gradient.remat={block: " + block + ", " + step + "}"});
      }
    }
    for (const std::string reuse : {"1", "2"}) {
      choices.push_back(
          {"gradient.mode=" + mode,
           "gradient.remat={policy: {gradients: dots, second_order: dots, reuse: " + reuse + "}}"});
    }
  }
  return choices;
}

// All of them with the inner optimisers and the kinds of meta-parameters that transformers are
// trained with. Loops of one iteration and tasks computed together take turns: five layouts, which
// has no factor in common with sixteen, so that each choice meets each. So has nine: every ninth
// runs under sanitizers.
inline std::vector<Settings> transformer_choices() {
  const std::vector<Settings> layouts = {
      {"inner.steps=3", "model.layers=3", "gradient.chunk=1"},
      {"inner.steps=3", "model.layers=3", "gradient.chunk=2"},
      {"inner.steps=1", "model.layers=3", "gradient.chunk=2"},
      {"inner.steps=3", "model.layers=1", "gradient.chunk=1"},
      {"inner.steps=2", "model.layers=2", "gradient.chunk=2", "model.kv_size=2"},
  };
  std::vector<Settings> choices;
  std::size_t turn = 0;
  for (const std::string optimizer : {"sgd", "adam"}) {
    for (const std::string& parameter : {std::string("{kind: init}"), kRatesPerWeight, kScorer}) {
      for (Settings settings : remat_choices()) {
        settings.push_back("inner.optimizer.kind=" + optimizer);
        settings.push_back("meta.parameters=[" + parameter + "]");
        const Settings& layout = layouts[turn % layouts.size()];
        settings.insert(settings.end(), layout.begin(), layout.end());
        if (kThorough || turn % 17 == 0) choices.push_back(std::move(settings));
        ++turn;
      }
    }
  }
  return choices;
}

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
