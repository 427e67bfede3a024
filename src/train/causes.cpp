#include "train/causes.h"

#include <algorithm>
#include <cmath>

#include "config/names.h"
#include "util/text.h"

namespace mixflow {
namespace {

using Extreme = StepFacts::Extreme;

constexpr double kHugeDatum = 1e6;   // squares and products of such do not stay finite for long
constexpr double kHugeWeight = 1e6;  // an initial weight that no initialisation draws
constexpr double kGrowth = 10;       // of the inner loss, which should fall

// The entry of meta.parameters that a tensor of eta belongs to; null if there is none.
const MetaParameter* entry_of(const Config& config, std::string_view eta_name) {
  constexpr std::string_view kPrefix = "eta.";
  if (!eta_name.starts_with(kPrefix)) return nullptr;
  eta_name.remove_prefix(kPrefix.size());
  const std::string_view kind = eta_name.substr(0, eta_name.find('.'));
  for (const MetaParameter& entry : config.meta.parameters) {
    if (name_of(entry.kind) == kind) return &entry;
  }
  return nullptr;
}

double transformed(Transform transform, double raw) {
  switch (transform) {
    case Transform::identity:
      return raw;
    case Transform::exp:
      return std::exp(raw);
    case Transform::softplus:
      return std::max(raw, 0.0) + std::log1p(std::exp(-std::abs(raw)));
    case Transform::sigmoid:
      return 1 / (1 + std::exp(-raw));
  }
  return raw;
}

double start_of(const Experiment& experiment, const std::string& name) {
  for (const InitialValue& initial : experiment.initial) {
    if (initial.name == name) return initial.value;
  }
  return 0;
}

bool is_decay(MetaKind kind) {
  return kind == MetaKind::beta1 || kind == MetaKind::beta2 || kind == MetaKind::momentum;
}

void look_at(const Experiment& experiment, const Port& port, const std::byte* data,
             StepFacts& facts) {
  const MetaParameter* entry = entry_of(experiment.config, port.name);
  const bool datum = port.role == Role::data_inner || port.role == Role::data_outer;
  if ((!entry && !datum) || !is_float(port.type.dtype)) return;
  const std::vector<double> values = to_doubles(port.type, data);
  const double start = entry ? transformed(entry->transform, start_of(experiment, port.name)) : 0;
  for (std::size_t e = 0; e < values.size(); ++e) {
    const double value = entry ? transformed(entry->transform, values[e]) : values[e];
    const auto found = [&] {
      return Extreme{port.name, place_in(port.type.shape, static_cast<std::int64_t>(e)), value,
                     start};
    };
    const auto larger = [&](const std::optional<Extreme>& than) {
      return !than || std::abs(value) > std::abs(than->value);
    };
    if (datum) {
      if (larger(facts.largest_datum)) facts.largest_datum = found();
    } else if (is_decay(entry->kind)) {
      if ((value < 0 || value >= 1) && larger(facts.decay)) facts.decay = found();
    } else if (entry->kind == MetaKind::lr) {
      if (value < 0 && (!facts.negative_rate || value < facts.negative_rate->value))
        facts.negative_rate = found();
      if (!facts.largest_rate || value > facts.largest_rate->value) facts.largest_rate = found();
    } else if (entry->kind == MetaKind::init && larger(facts.largest_init)) {
      facts.largest_init = found();
    }
  }
}

std::string three_digits(double value) { return formatted("%.3g", value); }

std::string text_of(const Extreme& extreme) {
  return extreme.tensor + extreme.place + " is " + three_digits(extreme.value);
}

// Of gradients of the square root of a mean of squares that is 0.
std::optional<std::string> root_of_zero(const Experiment& experiment, const Origin& origin) {
  const OptimizerConfig& inner = experiment.config.inner.optimizer;
  const bool rooted = inner.kind == OptimizerKind::adam || inner.kind == OptimizerKind::adamw ||
                      inner.kind == OptimizerKind::rmsprop;
  const bool in_update = origin.label.find("update") != std::string::npos &&
                         origin.label.find("meta update") == std::string::npos;
  if (!rooted || inner.eps_root > 0 || !in_update) return std::nullopt;
  const bool of_zero = origin.op.find("reciprocal") != std::string::npos ||
                       origin.op.find("div") != std::string::npos ||
                       std::ranges::find(origin.operands, 0.0) != origin.operands.end();
  if (!of_zero) return std::nullopt;
  return "inner.optimizer.eps_root is 0, and the square root of a mean of squares that is 0 (a "
         "weight whose gradient is 0) has an infinite derivative: set eps_root to 1e-12 or more";
}

// The inner losses as far as they are finite, where they grow instead of falling.
std::optional<std::string> growing_loss(const Experiment& experiment, const StepFacts& facts,
                                        const std::vector<double>& losses) {
  const auto end = std::ranges::find_if_not(losses, [](double x) { return std::isfinite(x); });
  if (end == losses.begin()) return std::nullopt;
  const auto largest = std::max_element(losses.begin(), end);
  const bool ends = end != losses.end();
  const bool soon = ends && end - losses.begin() <= 2;  // too few to see them grow
  const double times = ends ? 2 : kGrowth;
  if (!soon && !(*largest > times * std::abs(losses[0]))) return std::nullopt;
  std::string text = "the inner loss went from " + three_digits(losses[0]) + " in inner step 1";
  if (largest != losses.begin()) {
    text += " to " + three_digits(*largest) + " in step " +
            std::to_string(largest - losses.begin() + 1);
  }
  if (ends) text += " and is not finite in step " + std::to_string(end - losses.begin() + 1);
  text += ": the inner steps diverge. ";
  if (facts.largest_rate && facts.largest_rate->value > facts.largest_rate->start) {
    return text + "The learned rate " + text_of(*facts.largest_rate) + " (it began at " +
           three_digits(facts.largest_rate->start) +
           "): give lr bounds in meta.parameters, or lower meta.optimizer.lr";
  }
  return text + "Lower inner.optimizer.lr (" + three_digits(experiment.config.inner.optimizer.lr) +
         ")";
}

// Of an update of eta from finite losses and gradients.
std::optional<std::string> meta_update_too_far(const Experiment& experiment, const Origin& origin) {
  if (!origin.label.starts_with("meta update")) return std::nullopt;
  if (origin.op.find("square") != std::string::npos) {
    return "the meta-gradient is finite, but its squares are not: set meta.clip_norm, and "
           "inner.window or a lower inner.optimizer.lr where gradients grow through the steps";
  }
  return "the meta-update goes too far: lower meta.optimizer.lr (" +
         three_digits(experiment.config.meta.optimizer.lr) + ")";
}

}  // namespace

StepFacts facts_of(const Experiment& experiment, const StageRun& train) {
  StepFacts facts;
  for (const Port& port : train.stage().inputs)
    look_at(experiment, port, train.input(port.name).data(), facts);
  return facts;
}

std::string likely_cause(const Experiment& experiment, const StepFacts& facts, const Origin& origin,
                         const std::vector<double>& inner_losses, bool loss_is_finite) {
  if (facts.decay) {
    const std::string name = facts.decay->tensor.substr(std::string_view("eta.").size());
    const std::string kind = name.substr(0, name.find('.'));
    return kind + " left " + (kind == "momentum" ? "[0, 1)" : "(0, 1)") + ": " +
           facts.decay->tensor + facts.decay->place + " is " +
           formatted("%.8g", facts.decay->value) +
           (kind == "momentum" ? ", so that the velocity grows without end"
                               : ", so that 1 - " + kind + "^t or a mean is 0 or negative") +
           ". Give it `transform: sigmoid` or `bounds: [0, 0.9999]` in meta.parameters";
  }
  if (facts.largest_datum && !(std::abs(facts.largest_datum->value) < kHugeDatum)) {
    return "the data are of a huge magnitude: " + text_of(*facts.largest_datum) +
           ". Set data.normalize, or scale the data";
  }
  if (const auto root = root_of_zero(experiment, origin)) return *root;
  if (facts.negative_rate) {
    return "a learned rate is negative: " + text_of(*facts.negative_rate) + " (it began at " +
           three_digits(facts.negative_rate->start) +
           "), so inner steps climb the loss. Give lr `transform: exp` or bounds in "
           "meta.parameters, or lower meta.optimizer.lr";
  }
  if (facts.largest_init && !(std::abs(facts.largest_init->value) < kHugeWeight)) {
    return "the learned initial weights have grown: " + text_of(*facts.largest_init) +
           ". Lower meta.optimizer.lr or set meta.clip_norm";
  }
  if (const auto growing = growing_loss(experiment, facts, inner_losses)) return *growing;
  if (const auto too_far = meta_update_too_far(experiment, origin)) return *too_far;
  if (loss_is_finite) {
    return "the loss is finite, its derivative through " +
           std::to_string(experiment.config.inner.differentiated_steps()) +
           " inner steps is not: set inner.window to fewer, or lower inner.optimizer.lr";
  }
  return "none of the usual causes is confirmed (decays, rates, eps_root, magnitude of the data, "
         "growing inner losses): lower inner.optimizer.lr or meta.optimizer.lr";
}

}  // namespace mixflow
