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
  StageBuilder(const Config& config, const TaskSource& source, DType dtype);
  StageBuilder(const StageBuilder&) = delete;
  StageBuilder& operator=(const StageBuilder&) = delete;

  const Model& model() const { return *model_; }
  const std::vector<EtaTensor>& eta() const { return eta_; }
  GraphPtr inner_loss() const { return unroll_.inner_loss(); }
  bool meta_init() const;  // theta_0 is a meta-parameter

  Stage train() const;
  Stage grad() const;
  Stage objective() const;
  // `points`: numbers of inner steps, ascending and distinct, not empty.
  Stage eval(std::int64_t tasks, std::span<const std::int64_t> points) const;
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

  std::size_t num_shared() const;
  Ids add_eta(Draft& draft) const;
  Ids add_theta0(Draft& draft, std::span<const Id> eta) const;
  Data add_data(Draft& draft, std::int64_t tasks, std::int64_t steps,
                std::span<const Type> outer) const;
  Mask active_inputs() const;
  GraphPtr build_gradient_body() const;
  MetaGradient given_gradient(Draft& draft, std::span<const Id> eta, std::span<const Id> theta0,
                              const Data& data) const;
  MetaGradient meta_gradient(Builder& b, std::span<const Id> eta, std::span<const Id> theta0,
                             const Data& data) const;

  const Config& config_;
  const TaskSource& source_;
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
  GraphPtr forward_;        // of one task
  TaskGradient gradient_;   // of one task
  GraphPtr gradient_body_;  // of one chunk of tasks
};

}  // namespace mixflow
