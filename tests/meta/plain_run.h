// The inner problem in plain C++ doubles, sharing nothing with the graphs: a linear model
// (layers.0.weight [features, 1], layers.0.bias [1]) with the Bernoulli loss, whose Hessian depends
// on theta, and every optimiser by its textbook formula.
#pragma once

#include <cmath>
#include <optional>
#include <string>

#include "harness.h"

namespace mixflow {

// One weight tensor's update, element by element; `t` counts from 1. `frozen`: a denominator
// instead of the one that the state gives.
struct PlainHyper {
  double lr = 0, momentum = 0, beta1 = 0, beta2 = 0, weight_decay = 0;
};
struct PlainState {
  double m = 0, v = 0;
  double denominator = 0;  // of the last step
};
inline double plain_update(const OptimizerConfig& config, const PlainHyper& hyper, double g,
                           double theta, PlainState& state, int t,
                           std::optional<double> frozen = std::nullopt) {
  switch (config.kind) {
    case OptimizerKind::sgd:
      return theta - hyper.lr * g;
    case OptimizerKind::momentum:
      state.v = hyper.momentum * state.v + g;
      return theta - hyper.lr * state.v;
    case OptimizerKind::nesterov:
      state.v = hyper.momentum * state.v + g;
      return theta - hyper.lr * (g + hyper.momentum * state.v);
    case OptimizerKind::adam:
    case OptimizerKind::adamw: {
      state.m = hyper.beta1 * state.m + (1 - hyper.beta1) * g;
      state.v = hyper.beta2 * state.v + (1 - hyper.beta2) * g * g;
      const double m_hat = state.m / (1 - std::pow(hyper.beta1, t));
      const double v_hat = state.v / (1 - std::pow(hyper.beta2, t));
      const double decay = config.kind == OptimizerKind::adamw ? hyper.weight_decay * theta : 0;
      state.denominator = frozen.value_or(std::sqrt(v_hat + config.eps_root) + config.eps);
      return theta - hyper.lr * (m_hat / state.denominator + decay);
    }
    case OptimizerKind::rmsprop:
      state.v = hyper.beta2 * state.v + (1 - hyper.beta2) * g * g;
      state.denominator = frozen.value_or(std::sqrt(state.v + config.eps_root) + config.eps);
      return theta - hyper.lr * g / state.denominator;
  }
  return NAN;
}

struct PlainRun {
  Tensor64 outer_loss;    // [N]
  Tensor64 inner_loss;    // [N, T]
  Tensor64 theta_T;       // [N, features + 1], the bias last
  Tensor64 outer_grad;    // [N, features + 1]: dV / dtheta_T
  Tensor64 lr_direction;  // [N]: sum over steps of <g_t, dV/dtheta_T>
  Tensor64 denominators;  // [N, T, features + 1]
};

class PlainProblem {
 public:
  PlainProblem(const Config& config, const Shapes& shapes)
      : config_(config), shapes_(shapes), size_(static_cast<std::size_t>(shapes.features) + 1) {}

  // `steps` steps per task, the first `frozen` of them (and theta_0, if there are any) under the
  // eta of `before`; with `denominators`, those of another run instead of its own.
  PlainRun run(const Named& inputs, const Named& before, int frozen, int steps,
               const Tensor64* denominators = nullptr) const {
    PlainRun result;
    for (std::int64_t n = 0; n < config_.meta.batch; ++n) {
      task(inputs, before, frozen, steps, static_cast<std::size_t>(n), denominators, result);
    }
    return result;
  }
  PlainRun run(const Named& inputs) const {
    return run(inputs, inputs, 0, static_cast<int>(config_.inner.steps));
  }

 private:
  // Weight e of theta: its tensor's name and its place there.
  std::string tensor(std::size_t e) const {
    return e + 1 < size_ ? "layers.0.weight" : "layers.0.bias";
  }
  std::size_t place(std::size_t e) const { return e + 1 < size_ ? e : 0; }

  double start(const Named& inputs, std::size_t e) const {
    const auto eta = inputs.find("eta.init." + tensor(e));
    return eta != inputs.end() ? eta->second[place(e)] : inputs.at("theta." + tensor(e))[place(e)];
  }

  double hyper(const Named& inputs, const std::string& kind, MetaKind meta_kind, double constant,
               std::size_t e, std::size_t t) const {
    const Tensor64* values = nullptr;
    std::size_t at = 0;
    if (const auto it = inputs.find("eta." + kind); it != inputs.end()) {
      values = &it->second;
      at = std::min(t, values->size() - 1);  // per step, the last one being held
    } else if (const auto own = inputs.find("eta." + kind + "." + tensor(e)); own != inputs.end()) {
      values = &own->second;
      at = values->size() == 1 ? 0 : place(e);
    } else {
      return constant;
    }
    const double x = (*values)[at];
    for (const MetaParameter& parameter : config_.meta.parameters) {
      if (parameter.kind != meta_kind) continue;
      if (parameter.transform == Transform::exp) return std::exp(x);
      if (parameter.transform == Transform::softplus) return std::log1p(std::exp(x));
      if (parameter.transform == Transform::sigmoid) return 1 / (1 + std::exp(-x));
    }
    return x;
  }

  PlainHyper hypers(const Named& inputs, std::size_t e, std::size_t t) const {
    const OptimizerConfig& o = config_.inner.optimizer;
    return {hyper(inputs, "lr", MetaKind::lr, o.lr, e, t),
            hyper(inputs, "momentum", MetaKind::momentum, o.momentum, e, t),
            hyper(inputs, "beta1", MetaKind::beta1, o.beta1, e, t),
            hyper(inputs, "beta2", MetaKind::beta2, o.beta2, e, t),
            hyper(inputs, "weight_decay", MetaKind::weight_decay, o.weight_decay, e, t)};
  }

  // Loss and gradient of `examples` examples that start at `first` in x and y.
  double loss(const Tensor64& x, const Tensor64& y, std::size_t first, std::int64_t examples,
              const Tensor64& theta, Tensor64& grad) const {
    grad.assign(size_, 0);
    double total = 0;
    const double share = 1.0 / static_cast<double>(examples);
    for (std::size_t i = first; i < first + static_cast<std::size_t>(examples); ++i) {
      double z = theta[size_ - 1];
      for (std::size_t k = 0; k + 1 < size_; ++k) z += x[i * (size_ - 1) + k] * theta[k];
      total += (std::log1p(std::exp(z)) - z * y[i]) * share;
      const double z_bar = (1 / (1 + std::exp(-z)) - y[i]) * share;
      for (std::size_t k = 0; k + 1 < size_; ++k) grad[k] += z_bar * x[i * (size_ - 1) + k];
      grad[size_ - 1] += z_bar;
    }
    return total;
  }

  void task(const Named& inputs, const Named& before, int frozen, int steps, std::size_t n,
            const Tensor64* denominators, PlainRun& result) const {
    Tensor64 theta(size_);
    for (std::size_t e = 0; e < size_; ++e) theta[e] = start(frozen > 0 ? before : inputs, e);
    std::vector<PlainState> state(size_);
    Tensor64 g;
    Tensor64 g_sum(size_, 0);
    for (int t = 0; t < steps; ++t) {
      const Named& eta = t < frozen ? before : inputs;
      const auto step = static_cast<std::size_t>(t);
      const std::size_t batches = shapes_.same_batch ? 1 : static_cast<std::size_t>(steps);
      const std::size_t batch = n * batches + (shapes_.same_batch ? 0 : step);
      double value = loss(inputs.at("data.inner.x"), inputs.at("data.inner.y"),
                          batch * static_cast<std::size_t>(shapes_.inner), shapes_.inner, theta, g);
      for (std::size_t e = 0; e < size_; ++e) {
        const double h = hyper(eta, "l2", MetaKind::l2, config_.inner.l2.value_or(0), e, step);
        value += 0.5 * h * theta[e] * theta[e];
        g[e] += h * theta[e];
      }
      result.inner_loss.push_back(value);
      for (std::size_t e = 0; e < size_; ++e) {
        std::optional<double> denominator;
        if (denominators != nullptr) denominator = (*denominators)[result.denominators.size()];
        theta[e] = plain_update(config_.inner.optimizer, hypers(eta, e, step), g[e], theta[e],
                                state[e], t + 1, denominator);
        result.denominators.push_back(state[e].denominator);
        g_sum[e] += g[e];
      }
    }
    Tensor64 outer_grad;
    result.outer_loss.push_back(loss(inputs.at("data.outer.x"), inputs.at("data.outer.y"),
                                     n * static_cast<std::size_t>(shapes_.outer), shapes_.outer,
                                     theta, outer_grad));
    double direction = 0;
    for (std::size_t e = 0; e < size_; ++e) direction += g_sum[e] * outer_grad[e];
    result.lr_direction.push_back(direction);
    result.theta_T.insert(result.theta_T.end(), theta.begin(), theta.end());
    result.outer_grad.insert(result.outer_grad.end(), outer_grad.begin(), outer_grad.end());
  }

  const Config& config_;
  const Shapes& shapes_;
  std::size_t size_;
};

}  // namespace mixflow
