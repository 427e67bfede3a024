#include "config/idle.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string_view>
#include <variant>

#include "config/load.h"
#include "config/names.h"
#include "config/preset.h"
#include "config/values.h"
#include "util/text.h"

namespace mixflow {
namespace {

using Reason = std::string;  // empty: it acts

std::string number(std::int64_t n) { return std::to_string(n); }

bool has_blocks(const Config& config) {
  return std::holds_alternative<TransformerModel>(config.model);
}

std::string mode_is(const Config& config) {
  return "gradient.mode is " + std::string(name_of(config.gradient.mode));
}

// --- gradient ------------------------------------------------------------------------

// Nothing is kept for a backward pass where there is none.
Reason no_backward_pass(const Config& config) {
  if (config.gradient.mode != Mode::finite_difference) return "";
  return mode_is(config) + ", which computes losses only";
}

Reason no_blocks(const Config& config) {
  return has_blocks(config) ? no_backward_pass(config) : "model.kind mlp has no blocks";
}

// Blocks compute forward passes too.
Reason block_size(const Config& config) {
  return has_blocks(config) ? "" : "model.kind mlp has no blocks";
}

Reason block(const Config& config) {
  const RematPolicy policy = resolved_policy(config);
  const bool by_policy =
      policy.gradients != BlockKeep::by_block && policy.second_order != BlockKeep::by_block;
  if (has_blocks(config) && by_policy) return "gradient.remat.policy says what blocks keep";
  return no_blocks(config);
}

Reason second_order(const Config& config) {
  if (!has_blocks(config)) return no_blocks(config);
  if (config.gradient.mode == Mode::mixed) return "";
  return mode_is(config) + ", and only mixed differentiates gradients as they stand";
}

Reason reuse(const Config& config) {
  if (!config.gradient.second_order())
    return mode_is(config) + ", which differentiates no gradient";
  if (!config.gradient.remat.step) {
    return "gradient.remat.step is false: steps keep all that they compute";
  }
  if (resolved_policy(config).reuse != 0 && reused_steps(config) == 0) {
    return "the one step that is differentiated starts from constants, so that its gradient is "
           "not differentiated";
  }
  return "";
}

Reason preset(const Config& config) {
  if (has_blocks(config)) return no_backward_pass(config);
  if (config.gradient.preset == Preset::fastest) return reuse(config);
  return "model.kind mlp has no blocks";
}

Reason save_inner_grads(const Config& config) {
  const Reason none = no_backward_pass(config);
  if (!none.empty()) return none;
  if (!config.gradient.remat.step) {
    return "gradient.remat.step is false: steps keep all that they compute";
  }
  const std::int64_t steps = config.inner.differentiated_steps();
  if (config.gradient.second_order() && reused_steps(config) == steps) {
    return "gradient.remat.policy.reuse is " + number(resolved_policy(config).reuse) +
           ": steps keep more than their gradients";
  }
  return "";
}

Reason finite_difference_eps(const Config& config) {
  return config.gradient.mode == Mode::finite_difference ? "" : mode_is(config);
}

Reason bf16_check(const Config& config) {
  if (config.precision != Precision::bf16) {
    return "precision is " + std::string(name_of(config.precision));
  }
  return no_backward_pass(config);
}

// --- data, model and inner problem ----------------------------------------------------

Reason activation(const Config& config) {
  const auto* model = std::get_if<MlpModel>(&config.model);
  const bool linear = model != nullptr && model->hidden.empty();
  return linear ? "model.hidden is empty: a linear model has no activations" : "";
}

Reason dtype(const Config& config) {
  const auto* data = std::get_if<TokensData>(&config.data.source);
  if (data == nullptr) return "";
  for (const auto* files : {&data->path, &data->validation_path, &data->test_path}) {
    const auto is_npy = [](const std::string& path) { return path.ends_with(".npy"); };
    if (!std::ranges::all_of(*files, is_npy)) return "";
  }
  return "a .npy says its type itself";
}

Reason window(const Config& config) {
  if (config.inner.window != config.inner.steps) return "";
  return "all of inner.steps " + number(config.inner.steps) + " are in the window";
}

Reason stop_denominator(const Config& config) {
  if (config.gradient.mode == Mode::first_order) {
    return mode_is(config) + ": inner gradients, and so the denominators, are constants anyway";
  }
  return "";
}

// Momentum multiplies a velocity of 0 in the first step, and the bias correction makes the first
// step of Adam the same whatever its betas.
Reason first_step_only(const Config& config) {
  const auto& points = config.meta.eval.steps;
  const bool longer = std::ranges::any_of(points, [](std::int64_t n) { return n > 1; });
  if (config.inner.steps > 1 || config.inner.carries_state() || longer) return "";
  return "inner.steps is 1, and the first step of " +
         std::string(name_of(config.inner.optimizer.kind)) + " does not depend on it";
}

// --- training ------------------------------------------------------------------------

Reason warmup(const Config& config) {
  const Schedule& schedule = config.meta.schedule;
  const bool constant = schedule.kind == ScheduleKind::constant;
  return schedule.warmup == 1 && constant ? "the first meta-step has the whole rate already" : "";
}

Reason reduction(const Config& config) {
  const Schedule& schedule = config.meta.schedule;
  if (schedule.warmup + schedule.every < config.meta.steps) return "";
  return "training ends after meta.steps " + number(config.meta.steps) +
         ", before the first reduction";
}

Reason eval_every(const Config& config) {
  if (config.meta.eval.every < config.meta.steps) return "";
  return "training ends after meta.steps " + number(config.meta.steps) +
         ", and is evaluated there in any case";
}

Reason checkpoint_every(const Config& config) {
  const std::int64_t usual = MetaConfig().checkpoint_every;
  if (std::min(config.meta.checkpoint_every, usual) < config.meta.steps) return "";
  return "training ends after meta.steps " + number(config.meta.steps) +
         ", and has a checkpoint there in any case";
}

Reason checkpoint_minutes(const Config& config) {
  const std::int64_t every = std::min(config.meta.checkpoint_every, config.meta.steps);
  if (every > 1) return "";
  return "there is a checkpoint after every meta-step";
}

// --- the table -----------------------------------------------------------------------

struct Rule {
  std::string_view path;
  Reason (*reason)(const Config&);
};

constexpr Rule kRules[] = {
    {"data.dtype", dtype},
    {"model.activation", activation},
    {"inner.window", window},
    {"inner.optimizer.stop_denominator", stop_denominator},
    {"meta.schedule.warmup", warmup},
    {"meta.schedule.every", reduction},
    {"meta.schedule.factor", reduction},
    {"meta.eval.every", eval_every},
    {"meta.checkpoint_every", checkpoint_every},
    {"meta.checkpoint_minutes", checkpoint_minutes},
    {"gradient.preset", preset},
    {"gradient.remat.step", no_backward_pass},
    {"gradient.remat.block", block},
    {"gradient.remat.save_inner_grads", save_inner_grads},
    {"gradient.remat.policy.gradients", no_blocks},
    {"gradient.remat.policy.second_order", second_order},
    {"gradient.remat.policy.reuse", reuse},
    {"gradient.blocks.attention", block_size},
    {"gradient.blocks.feed_forward", block_size},
    {"gradient.blocks.cross_entropy", block_size},
    {"gradient.finite_difference_eps", finite_difference_eps},
    {"gradient.bf16_check", bf16_check},
};

// A hyper-parameter under `inner` that is learned from another start.
Reason other_start(const Config& config, const KeyValue& key) {
  for (std::size_t i = 0; i < config.meta.parameters.size(); ++i) {
    const MetaParameter& parameter = config.meta.parameters[i];
    const std::string name(name_of(parameter.kind));
    const bool l2 = parameter.kind == MetaKind::l2;
    if (key.path != (l2 ? "inner." : "inner.optimizer.") + name || !parameter.init) continue;
    const auto* value = std::get_if<double>(&key.value);
    if (value == nullptr || *value == *parameter.init) continue;
    return name + " is learned, and starts at " + item_path("meta.parameters", i) + ".init " +
           number_text(*parameter.init);
  }
  return "";
}

Reason reason_of(const Config& config, const KeyValue& key) {
  const auto rule = std::ranges::find(kRules, std::string_view(key.path), &Rule::path);
  if (rule != std::end(kRules)) return rule->reason(config);
  const std::string optimizer = "inner.optimizer.";
  const OptimizerKind kind = config.inner.optimizer.kind;
  const bool adam = kind == OptimizerKind::adam || kind == OptimizerKind::adamw;
  const bool of_state =
      (adam && (key.path == optimizer + "beta1" || key.path == optimizer + "beta2")) ||
      (kind == OptimizerKind::momentum && key.path == optimizer + "momentum");
  if (of_state) {
    const Reason reason = first_step_only(config);
    if (!reason.empty()) return reason;
  }
  if (key.path.ends_with(".bounds")) {
    const auto* bounds = std::get_if<Range>(&key.value);
    const bool all = bounds != nullptr && std::isinf((*bounds)[0]) && std::isinf((*bounds)[1]);
    return all ? "every number lies between them" : "";
  }
  return other_start(config, key);
}

}  // namespace

std::vector<IdleSetting> idle_settings(const Config& config) {
  std::vector<IdleSetting> idle;
  for (const KeyValue& key : changed_keys(config)) {
    if (std::string reason = reason_of(config, key); !reason.empty()) {
      idle.push_back({key.path, std::move(reason)});
    }
  }
  return idle;
}

std::string idle_text(const Config& config, const IdleSetting& setting) {
  return origin(config, setting.path) + ": has no effect, because " + setting.reason;
}

}  // namespace mixflow
