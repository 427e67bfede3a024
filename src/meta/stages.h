// The graphs of one experiment: what each stage of experiment.h computes, with named inputs and
// outputs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "meta/experiment.h"
#include "meta/tasks.h"
#include "models/model.h"
#include "models/transformer.h"

namespace mixflow {

// Builds the stages from parts that are built once: the model, eta, the unroll, and the
// meta-gradient of one task.
class StageBuilder {
 public:
  // Keeps references to `config` and `source`. Throws UserError as build_experiment does.
  StageBuilder(const Config& config, const DataSchema& source, DType dtype);
  StageBuilder(const StageBuilder&) = delete;
  StageBuilder& operator=(const StageBuilder&) = delete;

  const Model& model() const { return *model_; }
  const std::vector<EtaTensor>& eta() const { return eta_; }
  GraphPtr inner_loss() const { return unroll_.inner_loss(); }
  bool meta_init() const;  // theta_0 is a meta-parameter

  Stage train() const;
  Stage grad() const;
  Stage objective() const;
  // `points`: numbers of inner steps, ascending and distinct, not empty. `split`: test, or another
  // held-out one, whose outer batches may have another size.
  Stage eval(std::int64_t tasks, std::span<const std::int64_t> points, Split split) const;
  // Dots of evaluating one task of the test split.
  std::int64_t eval_flop(std::span<const std::int64_t> points) const;
  // Only where the inner state is carried.
  Stage state_eval(Split split) const;
  // Dots of one meta-step without recomputation (Experiment::model_flop).
  std::int64_t model_flop() const;

 private:
  // Values of one stage's graph.
  struct Data {
    Ids inner;
    Ids outer;
    Ids all() const;
  };
  struct MetaGradient {
    Ids eta_bar;
    Id outer_mean = kNone;  // means over tasks
    Id inner_mean = kNone;
    Ids ys;  // outer_loss [N], inner_loss [N, T], theta_T [N, ..]..
  };
  struct Draft;  // a stage under construction
  // From one kind of start.
  struct Gradient {
    std::size_t shared = 0;  // inputs that are the same for all tasks
    GraphPtr forward;        // of one task
    TaskGradient task;       // of one task
    GraphPtr body;           // of one chunk of tasks
  };

  std::size_t num_shared() const;
  Ids add_eta(Draft& draft) const;
  Ids add_theta0(Draft& draft, std::span<const Id> eta) const;
  Ids with_hypers(Builder& b, std::span<const Id> theta0, std::span<const Id> eta) const;
  Data add_data(Draft& draft, std::int64_t tasks, std::int64_t steps,
                std::span<const Type> outer) const;
  Ids add_inner_state(Draft& draft) const;
  Gradient build_gradient(Start start) const;
  Mask active_inputs(const Gradient& gradient, Start start) const;
  GraphPtr build_gradient_body(const Gradient& gradient) const;
  MetaGradient given_gradient(Draft& draft, std::span<const Id> eta, std::span<const Id> theta0,
                              const Data& data) const;
  // `consts`: what all tasks share; `own`: each task's state (if carried) and data, over N.
  MetaGradient meta_gradient(Builder& b, const Gradient& gradient, std::span<const Id> eta,
                             std::span<const Id> consts, std::span<const Id> own) const;

  const Config& config_;
  const DataSchema& source_;
  DType dtype_;
  std::unique_ptr<const Model> model_;
  std::optional<ScoreNetwork> scorer_;
  std::vector<EtaTensor> eta_;
  Hypers hypers_;
  InnerData inner_data_;
  std::vector<Type> outer_;
  Unroll unroll_;
  TaskSetting setting_;
  std::int64_t tasks_;
  std::int64_t chunk_;
  Gradient gradient_;                // from theta_0
  std::optional<Gradient> carried_;  // from a carried state, for `train`
};

}  // namespace mixflow
