// Meta-parameters: which tensors eta consists of, how they start, and the transform between eta and
// the hyper-parameter.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "config/config.h"
#include "meta/experiment.h"
#include "models/model.h"
#include "ops/builder.h"

namespace mixflow {

// One tensor of eta. Named eta.init.<tensor>; eta.loss_weights.<tensor of the scoring network>;
// eta.<kind> where one tensor serves all weights (scalar [], per_step [T]); eta.<kind>.<tensor>
// where each weight tensor has its own (per_tensor
// [], per_parameter: the weight's shape).
struct EtaTensor {
  std::string name;
  MetaKind kind = MetaKind::init;
  Granularity granularity = Granularity::scalar;
  Transform transform = Transform::identity;
  std::optional<Range> bounds;
  Shape shape;
  // Index of the model's (loss_weights: the scoring network's) parameter it belongs to; -1: all.
  int tensor = -1;
  InitialValue initial;
};

// The tensors of eta, in the order of config.meta.parameters and, within one of them, of the
// model's parameters, or of those of the scoring network (`scorer`).
std::vector<EtaTensor> eta_tensors(const Config& config, std::span<const Parameter> parameters,
                                   std::span<const Parameter> scorer);

// The hyper-parameter that eta stands for: x, e^x, log(1 + e^x) or 1 / (1 + e^-x).
Id apply_transform(Builder& b, Transform transform, Id eta);

}  // namespace mixflow
