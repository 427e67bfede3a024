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

// sqrt(x + eps_root) + eps
Id denominator(Builder& b, const OptimizerConfig& config, Id x) {
  return b.add(b.sqrt(b.add(x, config.eps_root)), config.eps);
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

Id unbias(Builder& b, Id beta, Id t) {
  // 1 / (1 - e^-2x) = (1 + 1 / tanh x) / 2 with x = -t log(beta) / 2. For beta near 1 a power loses
  // the digits that 1 - beta^t needs (in f32 an error of 5e-5 at 0.9999 and t = 2, against 1e-7
  // so), and its derivative more of them.
  const Id x = b.mul(b.mul(t, b.log(beta)), -0.5);
  return b.add(b.mul(b.reciprocal(b.tanh(x)), 0.5), 0.5);
}

Id average_of_ones(Builder& b, Id beta, Id t) {
  // 1 - e^-2x = 2 tanh x / (1 + tanh x), x as above. At beta = 0 a tiny one stands in: the
  // logarithm stays finite, so that t = 0 gives 0, and every other t gives 1 as it should.
  constexpr double kTiny = 1e-30;
  const Id x = b.mul(b.mul(t, b.log(b.max(beta, b.full(kTiny, b.dtype(beta))))), -0.5);
  const Id tanh = b.tanh(x);
  return b.div(b.mul(tanh, 2.0), b.add(tanh, 1.0));
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
      const Id v = moving_average(b, args.beta2, opt_state[1], b.square(g));
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
      const Id v = moving_average(b, args.beta2, opt_state[0], b.square(g));
      return {b.sub(theta, b.div(b.mul(args.lr, g), denominator(b, config, v))), {v}};
    }
  }
  MIXFLOW_CHECK(false, "unknown optimiser");
}

}  // namespace mixflow
