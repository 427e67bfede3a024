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

// logits[label] for every example: [B].
Id label_logit(Builder& b, Id logits, Id labels) {
  const int last = b.type(logits).rank() - 1;
  const Id hot =
      b.one_hot(labels, b.shape(logits)[static_cast<std::size_t>(last)], b.dtype(logits));
  return b.sum(b.mul(logits, hot), {last});
}

}  // namespace

Id mse(Builder& b, Id outputs, Id targets) {
  return b.mean_all(b.square(b.sub(outputs, targets_like(b, targets, outputs))));
}

Id cross_entropy(Builder& b, Id logits, Id labels) {
  return b.mean_all(b.sub(b.logsumexp(logits), label_logit(b, logits, labels)));
}

Id bce(Builder& b, Id logits, Id targets) {
  return b.mean_all(b.sub(b.softplus(logits), b.mul(logits, targets_like(b, targets, logits))));
}

Id batch_loss(Builder& b, Loss kind, Id outputs, Id targets) {
  switch (kind) {
    case Loss::mse:
      return mse(b, outputs, targets);
    case Loss::cross_entropy:
      return cross_entropy(b, outputs, targets);
    case Loss::bce:
      return bce(b, outputs, targets);
  }
  MIXFLOW_CHECK(false, "unknown loss");
}

Id batch_accuracy(Builder& b, Loss kind, Id outputs, Id targets) {
  MIXFLOW_CHECK(classifies(kind), "mse has no accuracy");
  Id wrong;
  if (kind == Loss::cross_entropy) {
    const Id best = b.max_reduce(outputs, {b.type(outputs).rank() - 1});
    wrong = b.less(label_logit(b, outputs, targets), best);
  } else {
    // 1 for a predicted class 0; wrong where that equals the label.
    const Id negative = b.less(outputs, b.zeros_like(outputs));
    wrong = b.equal(negative, targets_like(b, targets, outputs));
  }
  return b.sub(1.0, b.mean_all(wrong));
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
