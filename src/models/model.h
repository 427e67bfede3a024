// What the inner problem needs to know about a model: its tensors, and its loss as a graph. A model
// is stateless: its tensors are arguments of every call, so that the same loss serves every step of
// an unroll and the outer loss.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "config/config.h"
#include "ops/builder.h"

namespace mixflow {

// The cotangent of what enters an output layer over many classes: a product of that size, to be
// kept for as many numbers as a layer has, or computed again.
inline constexpr const char* kOutputCotangent = "output_cotangent";

// One tensor of a model and how it starts: `value` plus normal noise of the given deviation.
struct Parameter {
  std::string name;
  Shape shape;
  Init init = Init::zero;
  double deviation = 0;
  double value = 0;
};

class Model {
 public:
  virtual ~Model() = default;

  const std::vector<Parameter>& parameters() const { return parameters_; }
  std::int64_t size() const {  // number of weights
    std::int64_t elements = 0;
    for (const Parameter& parameter : parameters_) elements += num_elements(parameter.shape);
    return elements;
  }

  // `theta`: one value per parameter, in order. `fields`: one batch, in the order of the task
  // source's fields. What the model says about the batch: predictions or logits, [B, outputs] or,
  // for tokens, [B, S, V].
  virtual Id outputs(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const = 0;
  // Mean loss over the batch, a scalar.
  virtual Id loss(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const = 0;
  // Loss of each example, [B]; their mean is `loss`.
  virtual Id example_losses(Builder& b, std::span<const Id> theta,
                            std::span<const Id> fields) const = 0;
  // Share of right predictions, a scalar; only where classifies().
  virtual Id accuracy(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const = 0;
  virtual bool classifies() const = 0;

 protected:
  std::vector<Parameter> parameters_;
};

}  // namespace mixflow
