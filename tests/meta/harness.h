// Small experiments for the tests: a source of given shapes, and stages run by the reference
// executor with tensors by name.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "meta/optimizer.h"
#include "meta/stages.h"
#include "ops/reference.h"
#include "util/error.h"

namespace mixflow {

struct Shapes {
  std::int64_t features = 3;
  std::int64_t outputs = 1;
  std::int64_t inner = 4;  // examples
  std::int64_t outer = 5;
  bool same_batch = true;
  bool labels = false;  // y are i32 [B]
};

class FixedSource final : public TaskSource {
 public:
  explicit FixedSource(Shapes shapes) : shapes_(shapes) {}
  std::vector<Field> fields() const override {
    const Field y =
        shapes_.labels ? Field{"y", DType::i32, {}} : Field{"y", DType::f32, {shapes_.outputs}};
    return {{"x", DType::f32, {shapes_.features}}, y};
  }
  std::int64_t inner_batch() const override { return shapes_.inner; }
  std::int64_t outer_batch(Split) const override { return shapes_.outer; }
  bool same_batch_every_step() const override { return shapes_.same_batch; }
  std::int64_t output_width() const override { return shapes_.outputs; }
  void fill_task(Split, std::uint64_t, std::int64_t, std::int64_t, Precision,
                 std::span<std::byte* const>, std::span<std::byte* const>) const override {
    throw InternalError("the tests draw their data themselves");
  }

 private:
  Shapes shapes_;
};

using Named = std::map<std::string, Tensor64>;

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed * 2654435761u + 1) { uniform(0, 1); }
  double uniform(double low, double high) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * static_cast<double>(state_ >> 11) / 9007199254740992.0;
  }

 private:
  std::uint64_t state_;
};

// Values for all inputs of a stage. Hyper-parameters lie within 10 % of their start, weights and
// features in [-1, 1], targets in [0, 1], labels below `classes`; meta_lr 0.1, meta_step 3. The
// draw depends on the input's name alone.
inline Named draw_inputs(const Stage& stage, const std::vector<InitialValue>& initial,
                         int classes = 2) {
  Named inputs;
  for (const Port& port : stage.inputs) {
    Draw draw(std::hash<std::string>{}(port.name));
    const auto start = std::ranges::find(initial, port.name, &InitialValue::name);
    const bool weights = start == initial.end() || start->value == 0;
    Tensor64 values(static_cast<std::size_t>(port.type.elements()));
    for (double& x : values) {
      if (port.type.dtype == DType::i32) {
        x = std::floor(draw.uniform(0, classes));
      } else if (port.name == "meta_lr") {
        x = 0.1;
      } else if (port.name == "meta_step") {
        x = 3;
      } else if (!weights) {
        x = start->value * draw.uniform(0.9, 1.1);
      } else {
        const bool positive = port.name.ends_with(".y") || port.role == Role::meta_state;
        x = draw.uniform(positive ? 0 : -1, 1);
      }
    }
    inputs[port.name] = std::move(values);
  }
  return inputs;
}

inline Named run_stage(const Stage& stage, const Named& inputs) {
  std::vector<Tensor64> args;
  for (const Port& port : stage.inputs) args.push_back(inputs.at(port.name));
  std::vector<Tensor64> results = evaluate(*stage.graph, args);
  Named outputs;
  for (std::size_t i = 0; i < results.size(); ++i) {
    outputs[stage.outputs[i].name] = std::move(results[i]);
  }
  return outputs;
}

inline double mean(const Tensor64& values) {
  double total = 0;
  for (const double x : values) total += x;
  return total / static_cast<double>(values.size());
}

// The largest |a - b| divided by the largest |b|; infinite for NaN or different sizes.
inline double relative_difference(const Tensor64& a, const Tensor64& b) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0;
  double scale = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) || std::isnan(b[i])) return INFINITY;
    difference = std::max(difference, std::abs(a[i] - b[i]));
    scale = std::max(scale, std::abs(b[i]));
  }
  return difference == 0 ? 0 : difference / scale;
}

// All tensors of the meta-gradient, one after the other, in the order of their names.
inline Tensor64 flat_meta_grad(const Named& outputs) {
  Tensor64 flat;
  for (const auto& [name, values] : outputs) {
    if (name.starts_with("meta_grad.")) flat.insert(flat.end(), values.begin(), values.end());
  }
  return flat;
}

// d f / d eta in the order of flat_meta_grad, by central differences of fourth order.
inline Tensor64 finite_difference(const std::function<double(const Named&)>& f, Named inputs) {
  constexpr double kStep = 1e-4;
  Tensor64 flat;
  for (auto& [name, values] : inputs) {
    if (!name.starts_with("eta.")) continue;
    for (double& x : values) {
      const double at = x;
      const double h = kStep * std::max(std::abs(at), 1e-2);
      const auto odd = [&](double step) {
        x = at + step;
        const double up = f(inputs);
        x = at - step;
        const double down = f(inputs);
        x = at;
        return (up - down) / (2 * step);
      };
      flat.push_back((4 * odd(h) - odd(2 * h)) / 3);
    }
  }
  return flat;
}

// A problem with two tasks, three steps and every start away from zero.
inline Config base_config(OptimizerKind optimizer, Loss loss) {
  Config config;
  config.inner.loss = loss;
  config.inner.steps = 3;
  config.inner.l2 = 0.1;
  config.inner.optimizer = {.kind = optimizer,
                            .lr = 0.2,
                            .momentum = 0.8,
                            .beta1 = 0.7,
                            .beta2 = 0.9,
                            .weight_decay = 0.05};
  std::get<MlpModel>(config.model).activation = Activation::tanh;
  config.meta.batch = 2;
  config.meta.parameters = {{.kind = MetaKind::init}};
  return config;
}

// init, and every hyper-parameter that the optimiser has and l2, at one granularity.
inline std::vector<MetaParameter> all_parameters(OptimizerKind optimizer, Granularity granularity) {
  std::vector<MetaParameter> parameters{{.kind = MetaKind::init}};
  for (const MetaKind kind : {MetaKind::lr, MetaKind::momentum, MetaKind::beta1, MetaKind::beta2,
                              MetaKind::weight_decay, MetaKind::l2}) {
    if (kind != MetaKind::l2 && !has_hyper(optimizer, kind)) continue;
    parameters.push_back({.kind = kind, .granularity = granularity});
  }
  return parameters;
}

inline constexpr OptimizerKind kAdaptive[] = {OptimizerKind::adam, OptimizerKind::adamw,
                                              OptimizerKind::rmsprop};
inline constexpr OptimizerKind kOptimizers[] = {OptimizerKind::sgd,      OptimizerKind::momentum,
                                                OptimizerKind::nesterov, OptimizerKind::adam,
                                                OptimizerKind::adamw,    OptimizerKind::rmsprop};
inline constexpr Granularity kGranularities[] = {Granularity::scalar, Granularity::per_tensor,
                                                 Granularity::per_parameter, Granularity::per_step};

}  // namespace mixflow
