// Where each step finds its hyper-parameters. Each is a constant of the configuration or comes from
// eta; what comes from eta is computed once per meta-step, outside the loops over tasks and steps,
// and handed to them as `shared` values. Bias corrections 1/(1 - beta^t) are vectors over the
// steps, differentiable in beta; only a beta per weight has them computed inside the step, since a
// vector over steps of whole weight tensors would cost T |theta| bytes.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "meta/optimizer.h"
#include "meta/parameters.h"

namespace mixflow {

class Hypers {
 public:
  Hypers(const InnerConfig& inner, std::span<const EtaTensor> eta,
         std::span<const Parameter> parameters);

  // One value handed to all tasks.
  struct Shared {
    enum class Kind : std::uint8_t {
      eta,     // transform(eta[source])
      unbias,  // 1 / (1 - beta^t) for the steps' t; beta is shared[source], or `constant` where
               // source is -1
      count,   // t of each step: 1 .. steps, or as many from where a carried state stands
    };
    Kind kind = Kind::eta;
    int source = -1;
    double constant = 0;
    Transform transform = Transform::identity;
    Shape shape;            // of the value that one step reads
    bool per_step = false;  // [steps, shape..], sliced by the loop over steps
    bool active = true;     // depends on eta
  };
  const std::vector<Shared>& shared() const { return shared_; }
  Type type(std::size_t index, std::int64_t steps, DType dtype) const;

  // The shared values, in order, from all of eta, for an unroll of `steps` steps. A hyper-parameter
  // per step that has fewer entries keeps its last one. Where the unroll goes on from a carried
  // state, `done` is the number of steps before it, a scalar: t then counts from done + 1.
  Ids compute(Builder& b, std::span<const Id> eta, std::int64_t steps, DType dtype,
              Id done = kNone) const;

  // Inside a step: what the update of one weight tensor reads. `shared` holds that step's values.
  UpdateArgs update_args(Builder& b, std::span<const Id> shared, std::size_t tensor,
                         DType dtype) const;

  // The shared values that the inner loss reads; elements of `shared` that it does not read may be
  // kNone below.
  const std::vector<int>& loss_sources() const { return loss_sources_; }
  // The L2 term of the inner loss: whether there is one, and its h for one weight tensor.
  bool has_l2() const { return has_l2_; }
  Id l2(Builder& b, std::span<const Id> shared, std::size_t tensor, DType dtype) const;
  // The scoring network's weights, in the order of its parameters; empty if there is none.
  Ids scorer(std::span<const Id> shared) const;

 private:
  // The hyper-parameters proper come first, in the order of MetaKind after init.
  enum Slot : std::uint8_t {
    lr,
    momentum,
    beta1,
    beta2,
    weight_decay,
    h,
    unbias1,
    unbias2,
    kSlots
  };

  void add_eta(const EtaTensor& eta, int index);
  void add_unbias(Slot beta, Slot unbias);
  Id value(Builder& b, Slot slot, std::span<const Id> shared, std::size_t tensor,
           DType dtype) const;
  Id unbias_value(Builder& b, Slot beta, Slot unbias, std::span<const Id> shared,
                  std::size_t tensor, DType dtype) const;

  OptimizerKind optimizer_;
  std::size_t tensors_;
  bool has_l2_ = false;
  std::array<double, kSlots> constant_{};
  std::array<std::vector<int>, kSlots>
      source_;  // per weight tensor: index into shared_, -1: the constant
  std::vector<int> scorer_sources_;
  std::vector<int> loss_sources_;
  int count_ = -1;  // index of the shared step count
  std::vector<Shared> shared_;
};

}  // namespace mixflow
