#include "meta/parameters.h"

#include <set>

#include "config/check.h"
#include "config/names.h"
#include "meta/optimizer.h"
#include "util/error.h"

namespace mixflow {
namespace {

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

// The raw start of a hyper-parameter. The loader lets none pass that the optimiser lacks or that
// has none.
double start(const Config& config, const MetaParameter& entry) {
  MIXFLOW_CHECK(entry.kind == MetaKind::l2 || has_hyper(config.inner.optimizer.kind, entry.kind),
                "the inner optimiser has no " + std::string(name_of(entry.kind)));
  const std::optional<double> value =
      entry.init ? entry.init : configured(config.inner, entry.kind);
  const std::optional<double> raw =
      value ? inverse_transform(entry.transform, *value) : std::nullopt;
  MIXFLOW_CHECK(raw.has_value(), std::string(name_of(entry.kind)) + " has no start");
  return *raw;
}

// eta is a network's weights: those that the inner problem starts from, or the scoring network's.
void add_network(const MetaParameter& entry, std::span<const Parameter> parameters,
                 std::vector<EtaTensor>& eta) {
  const std::string kind(name_of(entry.kind));
  MIXFLOW_CHECK(entry.transform == Transform::identity, kind + " takes no transform");
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

void add_hyper(const Config& config, const MetaParameter& entry,
               std::span<const Parameter> parameters, std::vector<EtaTensor>& eta) {
  const double raw = start(config, entry);
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
  for (const MetaParameter& entry : config.meta.parameters) {
    MIXFLOW_CHECK(seen.insert(entry.kind).second, "the loader lets each kind pass once");
    if (entry.kind == MetaKind::init || entry.kind == MetaKind::loss_weights) {
      add_network(entry, entry.kind == MetaKind::init ? parameters : scorer, eta);
    } else {
      add_hyper(config, entry, parameters, eta);
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

}  // namespace mixflow
