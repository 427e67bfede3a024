#include "meta/hypers.h"

#include <algorithm>

#include "util/error.h"

namespace mixflow {
namespace {

// A vector over steps, cut or held at its last entry to have `steps` of them.
Id with_length(Builder& b, Id x, std::int64_t steps) {
  const std::int64_t have = b.shape(x)[0];
  if (steps == have) return x;
  if (steps < have) return b.slice(x, {0}, {steps});
  const Id last = b.broadcast_to(b.slice(x, {have - 1}, {have}), {steps - have});
  const Ids parts{x, last};
  return b.concat(parts, 0);
}

// 1 / (1 - beta^t) for t = 1 .. steps and one beta, 1 - beta^t being the moving average of ones: no
// power, no cancellation, and in the first step exactly the factor that the optimiser's own average
// has, so that its derivative in beta vanishes there as it should (in f32, powers leave an error of
// 1e-2 in the gradient of beta2). After `done` steps the average starts where those ones left it:
// it is rounded `steps` times and not done + steps times.
Id unbias_over_steps(Builder& b, Id beta, std::int64_t steps, Id done) {
  Builder inner;
  const Id decay = inner.input(b.type(beta), "beta");
  const Id average = inner.input(b.type(beta), "average of ones");
  const Id next = inner.add(inner.mul(decay, average), inner.sub(1.0, decay));
  const Ids outputs{next, inner.reciprocal(next)};
  const Ids consts{beta};
  const Ids init{done == kNone ? b.zeros_like(beta) : average_of_ones(b, beta, done)};
  return b.scan(inner.finish(outputs), consts, init, {}, steps).ys[0];
}

}  // namespace

Hypers::Hypers(const InnerConfig& inner, std::span<const EtaTensor> eta,
               std::span<const Parameter> parameters)
    : optimizer_(inner.optimizer.kind), tensors_(parameters.size()) {
  constant_ = {inner.optimizer.lr,    inner.optimizer.momentum,     inner.optimizer.beta1,
               inner.optimizer.beta2, inner.optimizer.weight_decay, inner.l2.value_or(0)};
  has_l2_ = inner.l2.has_value();
  for (std::vector<int>& source : source_) source.assign(tensors_, -1);
  for (std::size_t i = 0; i < eta.size(); ++i) {
    if (eta[i].kind != MetaKind::init) add_eta(eta[i], static_cast<int>(i));
  }
  for (const int source : source_[h]) {
    if (source >= 0 && std::ranges::find(loss_sources_, source) == loss_sources_.end()) {
      loss_sources_.push_back(source);
    }
  }
  loss_sources_.insert(loss_sources_.end(), scorer_sources_.begin(), scorer_sources_.end());
  // The optimisers with bias corrections are those with both betas.
  if (has_hyper(optimizer_, MetaKind::beta1)) {
    add_unbias(beta1, unbias1);
    add_unbias(beta2, unbias2);
  }
}

void Hypers::add_eta(const EtaTensor& eta, int index) {
  const bool per_step = eta.granularity == Granularity::per_step;
  const auto position = static_cast<int>(shared_.size());
  shared_.push_back({.kind = Shared::Kind::eta,
                     .source = index,
                     .transform = eta.transform,
                     .shape = per_step ? Shape{} : eta.shape,
                     .per_step = per_step});
  if (eta.kind == MetaKind::loss_weights) {
    scorer_sources_.push_back(position);
    return;
  }
  const auto slot = static_cast<std::size_t>(eta.kind) - 1;
  if (eta.tensor < 0) {
    std::ranges::fill(source_[slot], position);
  } else {
    source_[slot][static_cast<std::size_t>(eta.tensor)] = position;
  }
  if (eta.kind == MetaKind::l2) has_l2_ = true;
}

void Hypers::add_unbias(Slot beta, Slot unbias) {
  // Weight tensors with the same beta share its vector.
  for (std::size_t i = 0; i < tensors_; ++i) {
    const int source = source_[beta][i];
    const Shape shape = source < 0 ? Shape{} : shared_[static_cast<std::size_t>(source)].shape;
    if (!shape.empty()) {
      if (count_ < 0) {
        count_ = static_cast<int>(shared_.size());
        shared_.push_back({.kind = Shared::Kind::count, .per_step = true, .active = false});
      }
      continue;
    }
    const auto known = std::ranges::find_if(shared_, [&](const Shared& other) {
      return other.kind == Shared::Kind::unbias && other.source == source &&
             (source >= 0 || other.constant == constant_[beta]);
    });
    source_[unbias][i] = static_cast<int>(known - shared_.begin());
    if (known != shared_.end()) continue;
    shared_.push_back({.kind = Shared::Kind::unbias,
                       .source = source,
                       .constant = constant_[beta],
                       .per_step = true,
                       .active = source >= 0});
  }
}

Type Hypers::type(std::size_t index, std::int64_t steps, DType dtype) const {
  const Type type{dtype, shared_[index].shape};
  return shared_[index].per_step ? stacked(type, steps) : type;
}

Ids Hypers::compute(Builder& b, std::span<const Id> eta, std::int64_t steps, DType dtype,
                    Id done) const {
  Id count = b.add(b.iota(dtype, {steps}, 0), 1.0);
  if (done != kNone) count = b.add(count, done);
  Ids values;
  for (const Shared& shared : shared_) {
    const auto source = static_cast<std::size_t>(shared.source);
    switch (shared.kind) {
      case Shared::Kind::eta: {
        const Id x = apply_transform(b, shared.transform, eta[source]);
        values.push_back(shared.per_step ? with_length(b, x, steps) : x);
        break;
      }
      case Shared::Kind::count:
        values.push_back(count);
        break;
      case Shared::Kind::unbias: {
        const Id beta = shared.source < 0 ? b.full(shared.constant, dtype) : values[source];
        // With a beta per step, each step's correction is its own beta's alone.
        const bool own_beta = b.type(beta).rank() > 0;
        values.push_back(own_beta ? unbias(b, beta, count)
                                  : unbias_over_steps(b, beta, steps, done));
        break;
      }
    }
  }
  return values;
}

Id Hypers::value(Builder& b, Slot slot, std::span<const Id> shared, std::size_t tensor,
                 DType dtype) const {
  const int source = source_[slot][tensor];
  return source < 0 ? b.full(constant_[slot], dtype) : shared[static_cast<std::size_t>(source)];
}

Id Hypers::unbias_value(Builder& b, Slot beta, Slot unbias_slot, std::span<const Id> shared,
                        std::size_t tensor, DType dtype) const {
  if (source_[unbias_slot][tensor] >= 0) return value(b, unbias_slot, shared, tensor, dtype);
  return unbias(b, value(b, beta, shared, tensor, dtype), shared[static_cast<std::size_t>(count_)]);
}

UpdateArgs Hypers::update_args(Builder& b, std::span<const Id> shared, std::size_t tensor,
                               DType dtype) const {
  UpdateArgs args{.lr = value(b, lr, shared, tensor, dtype),
                  .momentum = value(b, momentum, shared, tensor, dtype),
                  .beta1 = value(b, beta1, shared, tensor, dtype),
                  .beta2 = value(b, beta2, shared, tensor, dtype),
                  .weight_decay = value(b, weight_decay, shared, tensor, dtype)};
  if (has_hyper(optimizer_, MetaKind::beta1)) {
    args.unbias1 = unbias_value(b, beta1, unbias1, shared, tensor, dtype);
    args.unbias2 = unbias_value(b, beta2, unbias2, shared, tensor, dtype);
  }
  return args;
}

Ids Hypers::scorer(std::span<const Id> shared) const {
  Ids weights;
  for (const int source : scorer_sources_)
    weights.push_back(shared[static_cast<std::size_t>(source)]);
  return weights;
}

Id Hypers::l2(Builder& b, std::span<const Id> shared, std::size_t tensor, DType dtype) const {
  return value(b, h, shared, tensor, dtype);
}

}  // namespace mixflow
