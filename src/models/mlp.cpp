#include "models/mlp.h"

#include <cmath>
#include <numbers>
#include <string>

#include "models/losses.h"
#include "util/error.h"

namespace mixflow {
namespace {

double deviation(Init init, std::int64_t fan_in) {
  const double inputs = static_cast<double>(fan_in);
  switch (init) {
    case Init::fan_in:
      return std::sqrt(1.0 / inputs);
    case Init::he:
      return std::sqrt(2.0 / inputs);
    case Init::zero:
      return 0;
  }
  MIXFLOW_CHECK(false, "unknown init");
}

}  // namespace

Id activate(Builder& b, Activation activation, Id x) {
  switch (activation) {
    case Activation::relu:
      return b.relu(x);
    case Activation::tanh:
      return b.tanh(x);
    case Activation::gelu: {
      // x/2 (1 + tanh(c (x + 0.044715 x^3))) = x sigmoid(2 c x (1 + 0.044715 x^2)): one function
      // less to derive.
      const double c = 2 * std::sqrt(2 / std::numbers::pi);
      const Id cubic = b.add(b.mul(b.square(x), 0.044715 * c), c);
      return b.mul(x, b.sigmoid(b.mul(x, cubic)));
    }
    case Activation::sigmoid:
      return b.sigmoid(x);
    case Activation::silu:
      return b.mul(x, b.sigmoid(x));
  }
  MIXFLOW_CHECK(false, "unknown activation");
}

Mlp::Mlp(const MlpModel& config, Loss loss, std::int64_t inputs, std::int64_t outputs)
    : config_(config), loss_(loss), inputs_(inputs) {
  std::int64_t in = inputs;
  for (std::size_t i = 0; i <= config.hidden.size(); ++i) {
    const std::int64_t out = i < config.hidden.size() ? config.hidden[i] : outputs;
    const std::string name = "layers." + std::to_string(i);
    parameters_.push_back(
        {name + ".weight", {in, out}, config.init, deviation(config.init, in), 0});
    if (config.bias) parameters_.push_back({name + ".bias", {out}, Init::zero, 0, 0});
    in = out;
  }
}

Id Mlp::outputs(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const {
  MIXFLOW_CHECK(theta.size() == parameters_.size(), "one value per parameter expected");
  Id h = fields[0];
  const Shape flat{b.shape(h)[0], inputs_};
  if (b.shape(h) != flat) h = b.reshape(h, flat);
  const std::size_t layers = config_.hidden.size() + 1;
  std::size_t next = 0;
  for (std::size_t i = 0; i < layers; ++i) {
    Builder::Scope scope(b, "layers." + std::to_string(i));
    h = b.dot(h, theta[next++]);
    if (config_.bias) h = b.add(h, theta[next++]);
    if (i + 1 < layers) h = activate(b, config_.activation, h);
  }
  return h;
}

Id Mlp::loss(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const {
  return batch_loss(b, loss_, outputs(b, theta, fields), fields[1]);
}

Id Mlp::example_losses(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const {
  const Id terms = loss_terms(b, loss_, outputs(b, theta, fields), fields[1]);
  return b.type(terms).rank() == 1 ? terms : b.mean(terms, {1});
}

Id Mlp::accuracy(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const {
  return batch_accuracy(b, loss_, outputs(b, theta, fields), fields[1]);
}

bool Mlp::classifies() const { return mixflow::classifies(loss_); }

}  // namespace mixflow
