#include "train/doubts.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

#include "config/load.h"
#include "config/names.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::int64_t kEarlyNorms = 10;
constexpr double kNormGrowth = 1e3;

struct Domain {
  double high;            // exclusive; the lower end is 0, inclusive
  const char* beyond;     // what happens outside
  const char* transform;  // that keeps inside
};

std::optional<Domain> domain_of(MetaKind kind) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  switch (kind) {
    case MetaKind::lr:
      return Domain{kInfinity, "such steps go uphill", "exp"};
    case MetaKind::l2:
    case MetaKind::weight_decay:
      return Domain{kInfinity, "it makes weights grow", "exp"};
    case MetaKind::momentum:
    case MetaKind::beta1:
    case MetaKind::beta2:
      return Domain{1, "averages need a decay of at least 0 and below 1", "sigmoid"};
    case MetaKind::init:
    case MetaKind::loss_weights:
      return std::nullopt;
  }
  return std::nullopt;
}

bool kept_inside(const MetaParameter& parameter, const Domain& domain) {
  if (parameter.transform != Transform::identity) return true;
  if (!parameter.bounds) return false;
  const auto [low, high] = *parameter.bounds;
  return low >= 0 && (std::isinf(domain.high) || high < domain.high);
}

struct Outside {
  std::int64_t count = 0;
  double worst = 0;
};

Outside outside(const Type& type, std::span<const std::byte> data, const Domain& domain) {
  Outside found;
  const auto scan = [&]<class T>(T) {
    for (std::int64_t e = 0; e < type.elements(); ++e) {
      T value;
      std::memcpy(&value, data.data() + static_cast<std::size_t>(e) * sizeof(T), sizeof(T));
      const auto x = static_cast<double>(value);
      if (!(x < 0) && !(x >= domain.high)) continue;
      ++found.count;
      if (std::abs(x) > std::abs(found.worst)) found.worst = x;
    }
  };
  type.dtype == DType::f64 ? scan(double{}) : scan(float{});
  return found;
}

// eta.lr or eta.lr.layers.0.weight
bool of_kind(std::string_view port, MetaKind kind) {
  const std::string name = "eta." + std::string(name_of(kind));
  return port.starts_with(name) && (port.size() == name.size() || port[name.size()] == '.');
}

}  // namespace

std::optional<std::string> NormGrowth::add(std::int64_t step, double norm) {
  if (count_ < kEarlyNorms) {
    if (norm > 0) {
      early_ = std::max(early_, norm);
      ++count_;
    }
    return std::nullopt;
  }
  if (told_ || !(norm >= kNormGrowth * early_)) return std::nullopt;
  told_ = true;
  return "meta-step " + std::to_string(step) + ": the meta-gradient's norm is " +
         formatted("%.2g", norm) + ", " + formatted("%.0e", norm / early_) +
         " times its largest at the start: inner training is at the edge of divergence; lower "
         "meta.optimizer.lr or inner.optimizer.lr, or set meta.clip_norm";
}

std::vector<std::string> DomainWatch::look(std::int64_t step, const StageRun& run) {
  std::vector<std::string> warnings;
  for (std::size_t i = 0; i < config_.meta.parameters.size(); ++i) {
    const MetaParameter& parameter = config_.meta.parameters[i];
    const std::optional<Domain> domain = domain_of(parameter.kind);
    if (!domain || kept_inside(parameter, *domain) || told_.contains(parameter.kind)) continue;
    for (const Port& port : run.stage().inputs) {
      if (port.role != Role::eta || !of_kind(port.name, parameter.kind)) continue;
      const Outside found = outside(port.type, run.input(port.name), *domain);
      if (found.count == 0) continue;
      told_.insert(parameter.kind);
      const std::int64_t all = port.type.elements();
      const std::string count =
          all == 1 ? "" : " in " + std::to_string(found.count) + " of " + std::to_string(all);
      warnings.push_back("meta-step " + std::to_string(step) + ": " + port.name + " is " +
                         number_text(found.worst) + count + ": " + domain->beyond +
                         "; if that is not wanted, set " +
                         origin(config_, "meta.parameters[" + std::to_string(i) + "].transform") +
                         ": " + domain->transform + ", or bounds");
      break;
    }
  }
  return warnings;
}

std::optional<std::string> worse_than_before(const EvalResult& before, const EvalResult& after,
                                             const InnerConfig& inner) {
  const Judged first = judged(before, inner), last = judged(after, inner);
  const bool worse = std::isfinite(first.loss) && !(last.loss <= first.loss + last.ci95);
  if (!worse) return std::nullopt;
  return "training ended worse than it began: " + std::string(name_of(after.split)) + " loss " +
         last.name + " " + formatted("%.4g", first.loss) + " -> " + formatted("%.4g", last.loss);
}

}  // namespace mixflow
