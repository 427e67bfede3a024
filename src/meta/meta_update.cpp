#include "meta/meta_update.h"

#include <cmath>

#include "meta/optimizer.h"
#include "util/error.h"

namespace mixflow {
namespace {

// Square root of the sum of squares over all tensors.
Id global_norm(Builder& b, std::span<const Id> xs) {
  Id total = kNone;
  for (const Id x : xs) {
    const Id square = b.sum_all(b.square(x));
    total = total == kNone ? square : b.add(total, square);
  }
  return b.sqrt(total);
}

Id project(Builder& b, Id x, const Range& bounds) {
  if (std::isfinite(bounds[0])) x = b.max(x, b.full(bounds[0], b.dtype(x)));
  if (std::isfinite(bounds[1])) x = b.min(x, b.full(bounds[1], b.dtype(x)));
  return x;
}

UpdateArgs update_args(Builder& b, const OptimizerConfig& config, DType dtype, Id lr, Id t) {
  UpdateArgs args{.lr = lr,
                  .momentum = b.full(config.momentum, dtype),
                  .beta1 = b.full(config.beta1, dtype),
                  .beta2 = b.full(config.beta2, dtype),
                  .weight_decay = b.full(config.weight_decay, dtype)};
  if (has_hyper(config.kind, MetaKind::beta1)) {
    const auto constant_unbias = [&](double beta, Id value) {
      return beta == 0 ? b.full(1, dtype) : unbias(b, value, t);
    };
    args.unbias1 = constant_unbias(config.beta1, args.beta1);
    args.unbias2 = constant_unbias(config.beta2, args.beta2);
  }
  return args;
}

}  // namespace

MetaUpdate meta_update(Builder& b, const MetaConfig& config, std::span<const EtaTensor> tensors,
                       std::span<const Id> eta, std::span<const Id> state, std::span<const Id> grad,
                       Id lr, Id t) {
  MIXFLOW_CHECK(!eta.empty() && eta.size() == tensors.size() && eta.size() == grad.size(),
                "one gradient per tensor of eta expected");
  Builder::Scope scope(b, "meta update");
  MetaUpdate step;
  step.grad_norm = global_norm(b, grad);
  // clip / max(norm, clip): min(1, clip / norm) without a division by zero.
  const DType dtype = b.dtype(lr);
  const Id clip = b.full(config.clip_norm, dtype);
  const Id scale = config.clip_norm > 0 ? b.div(clip, b.max(step.grad_norm, clip)) : kNone;
  const UpdateArgs args = update_args(b, config.optimizer, dtype, lr, t);
  const std::size_t per_tensor = opt_state_names(config.optimizer.kind).size();
  for (std::size_t i = 0; i < eta.size(); ++i) {
    Builder::Scope tensor_scope(b, tensors[i].name);
    const Id g = scale == kNone ? grad[i] : b.mul(scale, grad[i]);
    const Updated next =
        update(b, config.optimizer, g, eta[i], state.subspan(i * per_tensor, per_tensor), args);
    step.eta.push_back(tensors[i].bounds ? project(b, next.theta, *tensors[i].bounds) : next.theta);
    step.state.insert(step.state.end(), next.opt_state.begin(), next.opt_state.end());
  }
  return step;
}

}  // namespace mixflow
