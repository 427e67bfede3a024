#include "meta/detached.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "config/load.h"
#include "config/names.h"
#include "meta/hypers.h"
#include "meta/optimizer.h"
#include "ops/reference.h"
#include "transform/transform.h"
#include "util/error.h"
#include "util/rng.h"

namespace mixflow {
namespace {

// The unroll of one weight, as many steps as tell all longer ones: one before the window where
// there are any, and at most two inside.
struct Probe {
  Config config;
  std::int64_t before = 0, inside = 1;
  std::int64_t steps() const { return before + inside; }
};

Probe probe_of(const Config& config) {
  Probe probe{config};
  const std::int64_t differentiated = config.inner.differentiated_steps();
  probe.before = differentiated < config.inner.steps ? 1 : 0;
  probe.inside = std::min<std::int64_t>(differentiated, 2);
  probe.config.inner.steps = probe.steps();
  // What is learned otherwise than by the update rule does not concern it.
  std::erase_if(probe.config.meta.parameters, [&](const MetaParameter& parameter) {
    return !has_hyper(config.inner.optimizer.kind, parameter.kind);
  });
  for (MetaParameter& parameter : probe.config.meta.parameters) {
    if (parameter.granularity != Granularity::per_step) parameter.granularity = Granularity::scalar;
  }
  return probe;
}

// d theta_n / d eta for the loss a theta^2 / 2 + b theta, whose a and b are another pair of inputs
// in each step. Inputs: eta.., theta_0, the optimiser's state, a.., b.. The state starts at zero as
// constants, or as inputs where it is carried.
GraphPtr probe_graph(const Probe& probe, std::span<const EtaTensor> eta, const Hypers& hypers) {
  const OptimizerConfig& optimizer = probe.config.inner.optimizer;
  const Type scalar{DType::f64, {}};
  Builder b;
  Ids etas;
  for (const EtaTensor& tensor : eta) etas.push_back(b.input({DType::f64, tensor.shape}));
  Id theta = b.input(scalar);
  Ids state;
  for (std::size_t k = 0; k < opt_state_names(optimizer.kind).size(); ++k) {
    const bool carried = probe.config.inner.carries_state();
    state.push_back(carried ? b.input(scalar) : b.full(0, DType::f64));
  }
  const bool constant = probe.config.gradient.mode == Mode::first_order;
  const auto unroll = [&](std::span<const Id> values, std::int64_t first, std::int64_t count) {
    for (std::int64_t t = first; t < first + count; ++t) {
      Ids now;
      for (std::size_t i = 0; i < values.size(); ++i) {
        const bool per_step = hypers.shared()[i].per_step;
        now.push_back(per_step ? b.reshape(b.slice(values[i], {t}, {t + 1}), {}) : values[i]);
      }
      const Id slope = b.input(scalar), offset = b.input(scalar);
      Id g = b.add(b.mul(slope, theta), offset);
      if (constant) g = b.stop_gradient(g);
      const Updated next =
          update(b, optimizer, g, theta, state, hypers.update_args(b, now, 0, DType::f64));
      theta = next.theta;
      state = next.opt_state;
    }
  };
  const auto stop = [&](Ids ids) {
    for (Id& id : ids) id = b.stop_gradient(id);
    return ids;
  };
  // A carried state has steps behind it.
  const Id done = probe.config.inner.carries_state() ? b.full(3, DType::f64) : kNone;
  const Ids values = hypers.compute(b, etas, probe.steps(), DType::f64, done);
  if (probe.before > 0) {
    unroll(stop(values), 0, probe.before);
    theta = b.stop_gradient(theta);
    state = stop(state);
  }
  unroll(values, probe.before, probe.inside);
  const Ids ys{theta}, bars{b.full(1, DType::f64)};
  Ids bars_of_eta = pullback(b, ys, bars, etas);
  for (std::size_t i = 0; i < etas.size(); ++i) {
    if (bars_of_eta[i] == kNone) bars_of_eta[i] = b.zeros_like(etas[i]);
  }
  return clean(*b.finish(std::move(bars_of_eta)));
}

// Far above what rounding leaves of terms near 1 that cancel, and far below what does not cancel.
constexpr double kZero = 1e-10;

// Whether each tensor's derivative is zero at points drawn at random, and so everywhere.
std::vector<bool> zero_everywhere(const Graph& graph, std::span<const EtaTensor> eta) {
  std::vector<bool> zero(eta.size(), true);
  for (std::uint64_t draw = 0; draw < 3; ++draw) {
    Rng rng(draw, Purpose::check, 0);
    std::vector<Tensor64> inputs;
    for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
      Tensor64 values(static_cast<std::size_t>(num_elements(graph.type(graph.inputs[i]).shape)));
      // Hyper-parameters between 0.2 and 0.8 are in every rule's domain; the rest likewise.
      for (double& value : values) value = rng.uniform(0.2, 0.8);
      inputs.push_back(std::move(values));
    }
    const std::vector<Tensor64> bars = evaluate(graph, inputs);
    for (std::size_t i = 0; i < eta.size(); ++i) {
      const auto small = [](double x) { return std::abs(x) <= kZero; };
      zero[i] = zero[i] && std::ranges::all_of(bars[i], small);
    }
  }
  return zero;
}

std::string path_of(const Config& config, MetaKind kind) {
  const auto found = std::ranges::find(config.meta.parameters, kind, &MetaParameter::kind);
  const auto index = static_cast<std::size_t>(found - config.meta.parameters.begin());
  return item_path("meta.parameters", index) + ".kind";
}

[[noreturn]] void refuse(const Config& config, MetaKind kind, const std::string& why) {
  throw UserError(origin(config, path_of(config, kind)) + ": " + why);
}

// Why a derivative vanishes, where the derivation is known to people; the fact is the graph's.
std::string reason(const Config& config, MetaKind kind) {
  const std::string name(name_of(kind));
  const std::string optimizer(name_of(config.inner.optimizer.kind));
  const bool first = config.inner.steps == 1 && !config.inner.carries_state();
  if (first && kind == MetaKind::momentum) {
    return "momentum multiplies the velocity, which is 0 in the first step, so with inner.steps 1 "
           "its meta-gradient is zero; raise inner.steps";
  }
  if (first) {
    return "the bias correction makes the first step of " + optimizer + " independent of " + name +
           ", so with inner.steps 1 its meta-gradient is zero; raise inner.steps";
  }
  return "the update rule of " + optimizer + " does not depend on " + name +
         " in the steps that are differentiated, so its meta-gradient is zero; remove it";
}

}  // namespace

void refuse_cancelled(const Config& config) {
  const Probe probe = probe_of(config);
  if (probe.config.meta.parameters.empty()) return;
  const std::vector<Parameter> weight{{.name = "w", .shape = {}}};
  // Raw values are drawn where the hyper-parameters themselves should lie.
  Config plain = probe.config;
  for (MetaParameter& parameter : plain.meta.parameters) {
    parameter.transform = Transform::identity;
    parameter.init = 0.5;
    parameter.bounds.reset();
  }
  const std::vector<EtaTensor> eta = eta_tensors(plain, weight, {});
  const Hypers hypers(plain.inner, eta, weight);
  const std::vector<bool> zero =
      zero_everywhere(*probe_graph({plain, probe.before, probe.inside}, eta, hypers), eta);
  for (std::size_t i = 0; i < eta.size(); ++i) {
    if (zero[i]) refuse(config, eta[i].kind, reason(config, eta[i].kind));
  }
}

void refuse_unreached(const Config& config, std::span<const EtaTensor> eta, const Hypers& hypers,
                      const Mask& reached, std::size_t theta0) {
  std::vector<bool> used(eta.size(), false);
  const auto& shared = hypers.shared();
  for (std::size_t i = 0; i < shared.size(); ++i) {
    if (!reached[theta0 + i] || !shared[i].active) continue;
    // A bias correction comes from a beta, which is a shared value itself.
    auto from = static_cast<std::size_t>(shared[i].source);
    if (shared[i].kind == Hypers::Shared::Kind::unbias) {
      from = static_cast<std::size_t>(shared[from].source);
    }
    used[from] = true;
  }
  for (std::size_t i = 0; i < eta.size(); ++i) {
    if (used[i] || eta[i].kind == MetaKind::init) continue;
    refuse(
        config, eta[i].kind,
        "no path leads from " + eta[i].name +
            " to the outer loss, so its meta-gradient is zero: the weights it belongs to take no "
            "part in the inner gradient; learn another granularity, or remove it");
  }
}

}  // namespace mixflow
