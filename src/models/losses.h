// Losses and accuracies as graphs. Means over the batch, natural logarithms; all return scalars.
#pragma once

#include <span>

#include "config/config.h"
#include "ops/builder.h"

namespace mixflow {

// Mean over all elements of (outputs - targets)^2; outputs [B, n], targets [B, n], or [B] where n
// is 1.
Id mse(Builder& b, Id outputs, Id targets);

// Mean over examples of logsumexp(logits) - logits[label]; logits [B, classes], labels i32 [B] in
// [0, classes).
Id cross_entropy(Builder& b, Id logits, Id labels);

// Mean over all elements of softplus(z) - z y, which is -y log p - (1 - y) log(1 - p) at p =
// sigmoid(z) and cannot overflow; logits [B, n], targets [B, n] in [0, 1] or i32 labels 0 and 1,
// [B] where n is 1.
Id bce(Builder& b, Id logits, Id targets);

// What the mean of the loss that `kind` names is taken over: [B, n] for mse and bce, [B] for
// cross_entropy.
Id loss_terms(Builder& b, Loss kind, Id outputs, Id targets);

// The loss that `kind` names.
Id batch_loss(Builder& b, Loss kind, Id outputs, Id targets);

inline bool classifies(Loss kind) { return kind != Loss::mse; }

// 1 for each example whose label is the first with the largest logit, as argmax chooses it
// (cross_entropy, [B]), or for each logit on the label's side of zero (bce, [B, n]; a logit of zero
// says class 0, as argmax does of the logits 0 and z), else 0. An example with a NaN among its
// logits is wrong. Not for mse.
Id hits(Builder& b, Loss kind, Id outputs, Id targets);

// The mean of `hits`.
Id batch_accuracy(Builder& b, Loss kind, Id outputs, Id targets);

// 1/2 sum_i sum(h_i w_i^2): the L2 term of the inner loss. h_i is a scalar or has the shape of w_i.
Id l2_term(Builder& b, std::span<const Id> h, std::span<const Id> w);

}  // namespace mixflow
