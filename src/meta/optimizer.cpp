#include "meta/optimizer.h"

#include <array>

#include "util/error.h"

namespace mixflow {
namespace {

constexpr std::array<std::string_view, 1> kVelocity{"v"};
constexpr std::array<std::string_view, 2> kMoments{"m", "v"};

// decay * average + (1 - decay) * x
Id moving_average(Builder& b, Id decay, Id average, Id x) {
  return b.add(b.mul(decay, average), b.mul(b.sub(1.0, decay), x));
}

// 1 - beta^t for t = 1, 2, .., as (1 - beta) + beta (1 - beta^(t-1)), two terms of one sign; and
// 1 - e^-2x = 2 tanh x / (1 + tanh x) with x = -(t-1) log(beta) / 2. For beta near 1 a power loses
// the digits that 1 - beta^t needs (in f32 an error of 5e-5 at 0.9999 and t = 2, against 1e-7 so),
// and its derivative more of them. The floor has a logarithm where beta = 0 has none: what stands
// for 1 - beta^(t-1) there is 0 at t = 1 and 1 afterwards, as it should be, with the derivative 0.
Id one_minus_power(Builder& b, Id beta, Id t) {
  constexpr double kFloor = 1e-30;
  const Id log_beta = b.log(b.max(beta, b.full_like(beta, kFloor)));
  const Id tanh = b.tanh(b.mul(b.mul(b.add(t, -1.0), log_beta), -0.5));
  const Id before = b.div(b.mul(tanh, 2.0), b.add(tanh, 1.0));
  return b.add(b.sub(1.0, beta), b.mul(beta, before));
}

// The mean of squares after a gradient.
Id next_mean_square(Builder& b, const OptimizerConfig& config, Id beta2, Id v, Id g) {
  const Id next = moving_average(b, beta2, v, b.square(g));
  return config.stop_denominator ? b.stop_gradient(next) : next;
}

// sqrt(x + eps_root) + eps
Id denominator(Builder& b, const OptimizerConfig& config, Id x) {
  const Id root = b.add(b.sqrt(b.add(x, config.eps_root)), config.eps);
  return config.stop_denominator ? b.stop_gradient(root) : root;
}

}  // namespace

std::span<const std::string_view> opt_state_names(OptimizerKind kind) {
  switch (kind) {
    case OptimizerKind::sgd:
      return {};
    case OptimizerKind::momentum:
    case OptimizerKind::nesterov:
    case OptimizerKind::rmsprop:
      return kVelocity;
    case OptimizerKind::adam:
    case OptimizerKind::adamw:
      return kMoments;
  }
  MIXFLOW_CHECK(false, "unknown optimiser");
}

bool has_hyper(OptimizerKind kind, MetaKind hyper) {
  const bool adam = kind == OptimizerKind::adam || kind == OptimizerKind::adamw;
  switch (hyper) {
    case MetaKind::lr:
      return true;
    case MetaKind::momentum:
      return kind == OptimizerKind::momentum || kind == OptimizerKind::nesterov;
    case MetaKind::beta1:
      return adam;
    case MetaKind::beta2:
      return adam || kind == OptimizerKind::rmsprop;
    case MetaKind::weight_decay:
      return kind == OptimizerKind::adamw;
    case MetaKind::init:
    case MetaKind::l2:
    case MetaKind::loss_weights:
      return false;
  }
  MIXFLOW_CHECK(false, "unknown hyper-parameter");
}

Id unbias(Builder& b, Id beta, Id t) { return b.reciprocal(one_minus_power(b, beta, t)); }

Id average_of_ones(Builder& b, Id beta, Id t) {
  const Id one = b.full(1, b.dtype(t));
  return b.mul(b.min(t, one), one_minus_power(b, beta, b.max(t, one)));
}

Updated update(Builder& b, const OptimizerConfig& config, Id g, Id theta,
               std::span<const Id> opt_state, const UpdateArgs& args) {
  MIXFLOW_CHECK(opt_state.size() == opt_state_names(config.kind).size(), "wrong optimiser state");
  switch (config.kind) {
    case OptimizerKind::sgd:
      return {b.sub(theta, b.mul(args.lr, g)), {}};
    case OptimizerKind::momentum: {
      const Id v = b.add(b.mul(args.momentum, opt_state[0]), g);
      return {b.sub(theta, b.mul(args.lr, v)), {v}};
    }
    case OptimizerKind::nesterov: {
      const Id v = b.add(b.mul(args.momentum, opt_state[0]), g);
      return {b.sub(theta, b.mul(args.lr, b.add(g, b.mul(args.momentum, v)))), {v}};
    }
    case OptimizerKind::adam:
    case OptimizerKind::adamw: {
      const Id m = moving_average(b, args.beta1, opt_state[0], g);
      const Id v = next_mean_square(b, config, args.beta2, opt_state[1], g);
      const Id root = denominator(b, config, b.mul(args.unbias2, v));
      // Scalars first: lr / (1 - beta1^t) is one product for the whole tensor where both are
      // scalars.
      Id step = b.div(b.mul(b.mul(args.lr, args.unbias1), m), root);
      if (config.kind == OptimizerKind::adamw && !b.is_full(args.weight_decay, 0)) {
        step = b.add(step, b.mul(b.mul(args.lr, args.weight_decay), theta));
      }
      return {b.sub(theta, step), {m, v}};
    }
    case OptimizerKind::rmsprop: {
      const Id v = next_mean_square(b, config, args.beta2, opt_state[0], g);
      return {b.sub(theta, b.div(b.mul(args.lr, g), denominator(b, config, v))), {v}};
    }
  }
  MIXFLOW_CHECK(false, "unknown optimiser");
}

}  // namespace mixflow
