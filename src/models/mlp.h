// Multi-layer perceptron: h <- activation(h W_i + b_i), without an activation after the last layer.
// Tensors: layers.<i>.weight [in, out], layers.<i>.bias [out] (unless bias is off), in that order,
// layer by layer.
#pragma once

#include <cstdint>
#include <span>

#include "models/model.h"

namespace mixflow {

// relu, tanh, gelu (tanh approximation, Hendrycks and Gimpel 2016), sigmoid or silu (x sigmoid(x)).
Id activate(Builder& b, Activation activation, Id x);

class Mlp final : public Model {
 public:
  // `inputs`: elements of one example; `outputs`: targets or classes. Fields: x [B, ..] of that
  // many elements, y.
  Mlp(const MlpModel& config, Loss loss, std::int64_t inputs, std::int64_t outputs);

  Id outputs(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const override;
  Id loss(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const override;
  Id example_losses(Builder& b, std::span<const Id> theta,
                    std::span<const Id> fields) const override;
  Id accuracy(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const override;
  bool classifies() const override;

 private:
  MlpModel config_;
  Loss loss_;
  std::int64_t inputs_;
};

}  // namespace mixflow
