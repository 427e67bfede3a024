#include "meta/parameters.h"

#include <cmath>
#include <set>

#include "config/names.h"
#include "meta/optimizer.h"
#include "util/error.h"

namespace mixflow {
namespace {

[[noreturn]] void fail(const Config& config, std::size_t index, const std::string& message) {
  const MetaParameter& entry = config.meta.parameters[index];
  std::string where = config.file.empty() ? "config" : config.file;
  if (entry.where[0] > 0) {
    where += ":" + std::to_string(entry.where[0]) + ":" + std::to_string(entry.where[1]);
  }
  throw UserError(where + ": meta.parameters[" + std::to_string(index) + "]: " + message);
}

std::string hypers_of(OptimizerKind kind) {
  std::string names;
  for (const MetaKind hyper : {MetaKind::lr, MetaKind::momentum, MetaKind::beta1, MetaKind::beta2,
                               MetaKind::weight_decay}) {
    if (!has_hyper(kind, hyper)) continue;
    names += (names.empty() ? "" : ", ");
    names += name_of(hyper);
  }
  return names;
}

// Its value in `inner`; empty only for an L2 term that is not there.
std::optional<double> configured(const InnerConfig& inner, MetaKind kind) {
  switch (kind) {
    case MetaKind::lr:
      return inner.optimizer.lr;
    case MetaKind::momentum:
      return inner.optimizer.momentum;
    case MetaKind::beta1:
      return inner.optimizer.beta1;
    case MetaKind::beta2:
      return inner.optimizer.beta2;
    case MetaKind::weight_decay:
      return inner.optimizer.weight_decay;
    case MetaKind::l2:
      return inner.l2;
    case MetaKind::init:
    case MetaKind::loss_weights:
      break;
  }
  MIXFLOW_CHECK(false, std::string(name_of(kind)) + " has no scalar value");
}

// The raw start of a hyper-parameter, checked.
double start(const Config& config, std::size_t index) {
  const MetaParameter& entry = config.meta.parameters[index];
  const std::string kind(name_of(entry.kind));
  const OptimizerKind optimizer = config.inner.optimizer.kind;
  if (entry.kind != MetaKind::l2 && !has_hyper(optimizer, entry.kind)) {
    fail(config, index,
         "the inner optimizer " + std::string(name_of(optimizer)) + " has no " + kind +
             "; it has: " + hypers_of(optimizer));
  }
  const std::optional<double> value =
      entry.init ? entry.init : configured(config.inner, entry.kind);
  if (!value) fail(config, index, kind + " needs a start: give `init` here or set inner." + kind);
  const std::optional<double> raw = inverse_transform(entry.transform, *value);
  if (!raw) {
    fail(config, index,
         "the start " + std::to_string(*value) + " of " + kind +
             " is outside the range of its transform: exp and softplus need a start > 0, "
             "sigmoid one between 0 and 1");
  }
  return *raw;
}

// eta is a network's weights: those that the inner problem starts from, or the scoring network's.
void add_network(const Config& config, std::size_t index, std::span<const Parameter> parameters,
                 std::vector<EtaTensor>& eta) {
  const MetaParameter& entry = config.meta.parameters[index];
  const std::string kind(name_of(entry.kind));
  if (entry.transform != Transform::identity) {
    fail(config, index, kind + " takes no transform: it starts from the network's random weights");
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& parameter = parameters[i];
    const std::string name = "eta." + kind + "." + parameter.name;
    eta.push_back({.name = name,
                   .kind = entry.kind,
                   .bounds = entry.bounds,
                   .shape = parameter.shape,
                   .tensor = static_cast<int>(i),
                   .initial = {name, parameter.init, parameter.deviation, parameter.value}});
  }
}

void add_hyper(const Config& config, std::size_t index, std::span<const Parameter> parameters,
               std::vector<EtaTensor>& eta) {
  const MetaParameter& entry = config.meta.parameters[index];
  const double raw = start(config, index);
  const auto add = [&](std::string name, Shape shape, int tensor) {
    eta.push_back({.name = name,
                   .kind = entry.kind,
                   .granularity = entry.granularity,
                   .transform = entry.transform,
                   .bounds = entry.bounds,
                   .shape = std::move(shape),
                   .tensor = tensor,
                   .initial = {name, Init::zero, 0, raw}});
  };
  const std::string name = "eta." + std::string(name_of(entry.kind));
  if (entry.granularity == Granularity::scalar) return add(name, {}, -1);
  if (entry.granularity == Granularity::per_step) return add(name, {config.inner.steps}, -1);
  const bool scalars = entry.granularity == Granularity::per_tensor;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    add(name + "." + parameters[i].name, scalars ? Shape{} : parameters[i].shape,
        static_cast<int>(i));
  }
}

}  // namespace

std::vector<EtaTensor> eta_tensors(const Config& config, std::span<const Parameter> parameters,
                                   std::span<const Parameter> scorer) {
  std::vector<EtaTensor> eta;
  std::set<MetaKind> seen;
  for (std::size_t i = 0; i < config.meta.parameters.size(); ++i) {
    const MetaKind kind = config.meta.parameters[i].kind;
    if (!seen.insert(kind).second) {
      fail(config, i, std::string(name_of(kind)) + " is given twice; expected one entry per kind");
    }
    if (kind == MetaKind::init || kind == MetaKind::loss_weights) {
      add_network(config, i, kind == MetaKind::init ? parameters : scorer, eta);
    } else {
      add_hyper(config, i, parameters, eta);
    }
  }
  return eta;
}

Id apply_transform(Builder& b, Transform transform, Id eta) {
  switch (transform) {
    case Transform::identity:
      return eta;
    case Transform::exp:
      return b.exp(eta);
    case Transform::softplus:
      return b.softplus(eta);
    case Transform::sigmoid:
      return b.sigmoid(eta);
  }
  MIXFLOW_CHECK(false, "unknown transform");
}

std::optional<double> inverse_transform(Transform transform, double value) {
  switch (transform) {
    case Transform::identity:
      return value;
    case Transform::exp:
      if (value > 0) return std::log(value);
      return std::nullopt;
    case Transform::softplus:
      // log(e^v - 1) = v + log(1 - e^-v), which does not overflow.
      if (value > 0) return value + std::log(-std::expm1(-value));
      return std::nullopt;
    case Transform::sigmoid:
      if (value > 0 && value < 1) return std::log(value) - std::log1p(-value);
      return std::nullopt;
  }
  MIXFLOW_CHECK(false, "unknown transform");
}

}  // namespace mixflow
