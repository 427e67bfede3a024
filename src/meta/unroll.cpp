#include "meta/unroll.h"

#include <utility>

#include "config/preset.h"
#include "models/losses.h"
#include "util/error.h"

namespace mixflow {
namespace {

// Entries first .. first + count - 1 of the leading axis.
Id cut(Builder& b, Id x, std::int64_t first, std::int64_t count) {
  Shape limits = b.shape(x);
  if (limits[0] == count) return x;
  Shape starts(limits.size(), 0);
  starts[0] = first;
  limits[0] = first + count;
  return b.slice(x, std::move(starts), std::move(limits));
}

Id drop_leading_axis(Builder& b, Id x) { return b.reshape(x, sliced(b.graph().type(x)).shape); }

Ids stopped(Builder& b, std::span<const Id> xs) {
  Ids result;
  for (const Id x : xs) result.push_back(b.stop_gradient(x));
  return result;
}

}  // namespace

Policy step_policy(const RematConfig& remat, bool reused) {
  if (!remat.step) return {Policy::Keep::all, {}};
  if (reused) return {Policy::Keep::dots, {}};
  if (remat.save_inner_grads) return {Policy::Keep::names, {kInnerGrads, kOutputCotangent}};
  return {Policy::Keep::carries, {}};
}

Unroll::Unroll(const Config& config, const Model& model, const ScoreNetwork* scorer,
               const Hypers& hypers, const InnerData& inner_data, DType dtype)
    : config_(config),
      model_(model),
      scorer_(scorer),
      hypers_(hypers),
      inner_data_(inner_data),
      dtype_(dtype) {
  inner_loss_ = build_inner_loss();
  body_ = build_body();
}

GraphPtr Unroll::build_inner_loss() const {
  Builder b;
  Builder::Scope scope(b, "inner loss");
  Ids theta;
  for (const Parameter& parameter : model_.parameters()) {
    theta.push_back(b.input({dtype_, parameter.shape}, parameter.name));
  }
  Ids shared(hypers_.shared().size(), kNone);
  for (const int source : hypers_.loss_sources()) {
    const auto i = static_cast<std::size_t>(source);
    shared[i] = b.input({dtype_, hypers_.shared()[i].shape}, "eta");
  }
  Ids fields;
  for (const Type& type : inner_data_.batch) fields.push_back(b.input(type));
  Id loss;
  if (scorer_ != nullptr) {
    const Id losses = model_.example_losses(b, theta, fields);
    Builder::Scope weights_scope(b, "loss weights");
    const Id scores = scorer_->scores(b, hypers_.scorer(shared), fields);
    // sum_i softmax_i(phi) l_i
    loss = b.sum(b.mul(b.exp(b.sub(scores, b.logsumexp(scores))), losses), {0});
  } else {
    loss = model_.loss(b, theta, fields);
  }
  if (hypers_.has_l2()) {
    Builder::Scope l2_scope(b, "l2");
    Ids h;
    for (std::size_t i = 0; i < theta.size(); ++i) h.push_back(hypers_.l2(b, shared, i, dtype_));
    loss = b.add(loss, l2_term(b, h, theta));
  }
  return b.finish({loss});
}

// (shared constants.., [fields..] | theta.., opt_state.. | shared per step.., [fields..]) ->
// (theta', opt_state', loss); the fields are constants where every step reads the same batch.
GraphPtr Unroll::build_body() const {
  Builder b;
  const auto& parameters = model_.parameters();
  const std::size_t per_tensor = opt_state_names(config_.inner.optimizer.kind).size();
  Ids shared(hypers_.shared().size(), kNone);
  Ids fields;
  State state;
  const auto add_inputs = [&](bool per_step) {
    for (std::size_t i = 0; i < shared.size(); ++i) {
      const Hypers::Shared& value = hypers_.shared()[i];
      if (value.per_step == per_step) shared[i] = b.input({dtype_, value.shape});
    }
    if (inner_data_.same_batch == per_step) return;
    for (const Type& type : inner_data_.batch) fields.push_back(b.input(type));
  };
  add_inputs(false);
  for (const Parameter& parameter : parameters) {
    state.theta.push_back(b.input({dtype_, parameter.shape}, parameter.name));
  }
  for (const Parameter& parameter : parameters) {
    for (std::size_t k = 0; k < per_tensor; ++k) {
      state.opt_state.push_back(b.input({dtype_, parameter.shape}));
    }
  }
  add_inputs(true);

  Ids rest;
  for (const int source : hypers_.loss_sources())
    rest.push_back(shared[static_cast<std::size_t>(source)]);
  append(rest, fields);
  const GradMode mode =
      config_.gradient.mode == Mode::first_order ? GradMode::first_order : GradMode::mixed;
  Builder::Grad grad;
  {
    Builder::Scope scope(b, "inner gradient");
    grad = b.grad(inner_loss_, state.theta, rest, mode);
  }
  Builder::Scope scope(b, "update");
  Ids outputs;
  Ids next_opt_state;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Builder::Scope tensor_scope(b, parameters[i].name);
    const Id g = b.named(grad.grads[i], kInnerGrads);
    const auto opt_state = std::span<const Id>(state.opt_state).subspan(i * per_tensor, per_tensor);
    const Updated next = update(b, config_.inner.optimizer, g, state.theta[i], opt_state,
                                hypers_.update_args(b, shared, i, dtype_));
    outputs.push_back(next.theta);
    append(next_opt_state, next.opt_state);
  }
  append(outputs, next_opt_state);
  outputs.push_back(grad.loss);
  return b.finish(std::move(outputs));
}

Unroll::State Unroll::start(Builder& b, std::span<const Id> theta0) const {
  State state{Ids(theta0.begin(), theta0.end()), {}};
  const std::size_t per_tensor = opt_state_names(config_.inner.optimizer.kind).size();
  for (const Id theta : theta0) {
    state.opt_state.insert(state.opt_state.end(), per_tensor, b.zeros_like(theta));
  }
  return state;
}

Unroll::Steps Unroll::run(Builder& b, const State& state, std::span<const Id> shared,
                          std::span<const Id> data, std::int64_t first, std::int64_t count,
                          const Policy& policy) const {
  MIXFLOW_CHECK(count > 0, "a run of no steps");
  Ids consts;
  Ids xs;
  for (std::size_t i = 0; i < shared.size(); ++i) {
    if (hypers_.shared()[i].per_step) {
      xs.push_back(cut(b, shared[i], first, count));
    } else {
      consts.push_back(shared[i]);
    }
  }
  for (const Id field : data) {
    if (inner_data_.same_batch) {
      consts.push_back(drop_leading_axis(b, field));
    } else {
      xs.push_back(cut(b, field, first, count));
    }
  }
  Ids carry = state.theta;
  append(carry, state.opt_state);
  const Builder::Loop loop = b.scan(body_, consts, carry, xs, count, false, policy);
  const auto split = loop.carry.begin() + static_cast<std::ptrdiff_t>(state.theta.size());
  return {{Ids(loop.carry.begin(), split), Ids(split, loop.carry.end())}, loop.ys[0]};
}

Unroll::Steps Unroll::run_all(Builder& b, const State& from, std::span<const Id> shared,
                              std::span<const Id> prefix, std::span<const Id> data) const {
  const std::int64_t differentiated = config_.inner.differentiated_steps();
  const std::int64_t before = config_.inner.steps - differentiated;
  const std::int64_t reused = reused_steps(config_);
  Steps result{from, kNone};
  const auto go_on = [&](std::span<const Id> values, std::int64_t first, std::int64_t count,
                         const Policy& policy) {
    if (count == 0) return;
    Steps next = run(b, result.state, values, data, first, count, policy);
    const Ids parts{result.losses, next.losses};
    if (first > 0) next.losses = b.concat(parts, 0);
    result = std::move(next);
  };
  const auto stop = [&] {  // zero derivatives at the border: the state counts as a constant
    result.state = {stopped(b, result.state.theta), stopped(b, result.state.opt_state)};
  };
  if (before > 0) {
    Builder::Scope scope(b, "unroll before the window");
    stop();
    go_on(stopped(b, prefix), 0, before, {});
  }
  Builder::Scope scope(b, "unroll");
  if (before > 0) stop();
  const RematConfig& remat = config_.gradient.remat;
  go_on(shared, before, differentiated - reused, step_policy(remat, false));
  go_on(shared, before + differentiated - reused, reused, step_policy(remat, true));
  return result;
}

Id Unroll::outer_loss(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const {
  Builder::Scope scope(b, "outer loss");
  return model_.loss(b, theta, fields);
}

}  // namespace mixflow
