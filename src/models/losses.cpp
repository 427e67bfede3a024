#include "models/losses.h"

#include "ops/op_list.h"
#include "util/error.h"

namespace mixflow {
namespace {

// Targets as floats of the shape of `outputs`: labels are converted, [B] becomes [B, 1].
Id targets_like(Builder& b, Id targets, Id outputs) {
  if (b.dtype(targets) != b.dtype(outputs)) {
    Attrs attrs;
    attrs.dtype = b.dtype(outputs);
    targets = b.emit(op::k_convert, {targets}, attrs);
  }
  if (b.shape(targets) != b.shape(outputs)) {
    MIXFLOW_CHECK(num_elements(b.shape(targets)) == num_elements(b.shape(outputs)),
                  "targets " + to_string(b.type(targets)) + " do not fit outputs " +
                      to_string(b.type(outputs)));
    targets = b.reshape(targets, b.shape(outputs));
  }
  return targets;
}

// logits[label] for every example: [B]. A sum over a mask, not a one-hot: an elementwise chain that
// is never stored, however many classes there are.
Id label_logit(Builder& b, Id logits, Id labels) {
  const Shape shape = b.shape(logits);
  const auto last = static_cast<std::int64_t>(shape.size()) - 1;
  const DType dtype = b.dtype(logits);
  const Id label = b.broadcast(b.convert(labels, dtype), {last}, shape);
  const Id hot = b.equal(b.iota(dtype, shape, static_cast<int>(last)), label);
  return b.sum(b.mul(logits, hot), {last});
}

Id mse_terms(Builder& b, Id outputs, Id targets) {
  return b.square(b.sub(outputs, targets_like(b, targets, outputs)));
}

Id cross_entropy_terms(Builder& b, Id logits, Id labels) {
  return b.sub(b.logsumexp(logits), label_logit(b, logits, labels));
}

Id bce_terms(Builder& b, Id logits, Id targets) {
  return b.sub(b.softplus(logits), b.mul(logits, targets_like(b, targets, logits)));
}

}  // namespace

Id mse(Builder& b, Id outputs, Id targets) { return b.mean_all(mse_terms(b, outputs, targets)); }

Id cross_entropy(Builder& b, Id logits, Id labels) {
  return b.mean_all(cross_entropy_terms(b, logits, labels));
}

Id bce(Builder& b, Id logits, Id targets) { return b.mean_all(bce_terms(b, logits, targets)); }

Id loss_terms(Builder& b, Loss kind, Id outputs, Id targets) {
  switch (kind) {
    case Loss::mse:
      return mse_terms(b, outputs, targets);
    case Loss::cross_entropy:
      return cross_entropy_terms(b, outputs, targets);
    case Loss::bce:
      return bce_terms(b, outputs, targets);
  }
  MIXFLOW_CHECK(false, "unknown loss");
}

Id batch_loss(Builder& b, Loss kind, Id outputs, Id targets) {
  return b.mean_all(loss_terms(b, kind, outputs, targets));
}

Id hits(Builder& b, Loss kind, Id outputs, Id targets) {
  MIXFLOW_CHECK(classifies(kind), "mse has no accuracy");
  if (kind == Loss::bce) {
    const Id side = b.add(targets_like(b, targets, outputs), -0.5);
    const Id zero = b.zeros_like(outputs);
    const Id tie = b.mul(b.equal(outputs, zero), b.less(side, zero));
    return b.add(b.less(zero, b.mul(outputs, side)), tie);
  }
  // The classes behind the label's: those with a smaller logit, and later ones with the same. All
  // others must be. A NaN is behind nothing, and nothing is behind a NaN.
  const Shape shape = b.shape(outputs);
  const auto last = static_cast<std::int64_t>(shape.size()) - 1;
  const DType dtype = b.dtype(outputs);
  const Id logit = b.broadcast(label_logit(b, outputs, targets), {last}, shape);
  const Id label = b.broadcast(b.convert(targets, dtype), {last}, shape);
  const Id later = b.less(label, b.iota(dtype, shape, static_cast<int>(last)));
  const Id behind = b.add(b.less(outputs, logit), b.mul(b.equal(outputs, logit), later));
  const Id count = b.sum(behind, {last});
  return b.equal(count, b.full_like(count, static_cast<double>(shape.back() - 1)));
}

Id batch_accuracy(Builder& b, Loss kind, Id outputs, Id targets) {
  return b.mean_all(hits(b, kind, outputs, targets));
}

Id l2_term(Builder& b, std::span<const Id> h, std::span<const Id> w) {
  MIXFLOW_CHECK(!w.empty() && h.size() == w.size(), "one h per weight tensor expected");
  Id total = kNone;
  for (std::size_t i = 0; i < w.size(); ++i) {
    // A scalar is multiplied after the sum: one product instead of one per weight.
    const Id square = b.square(w[i]);
    const Id term =
        b.type(h[i]).rank() == 0 ? b.mul(h[i], b.sum_all(square)) : b.sum_all(b.mul(h[i], square));
    total = total == kNone ? term : b.add(total, term);
  }
  return b.mul(total, 0.5);
}

}  // namespace mixflow
