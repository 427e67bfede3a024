// Which evaluation of a run was the best so far, and how many have followed it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/config.h"
#include "train/metrics.h"

namespace mixflow {

// The loss by which states of one run are compared, and what it is called.
struct Judged {
  double loss = 0, ci95 = 0;
  std::string name;  // "after 5 inner steps", "of the carried inner state"
};
// That of the carried inner state where there is one, else that after inner.steps; where
// meta.eval.steps leave these out, after the most steps.
Judged judged(const EvalResult& result, const InnerConfig& inner);

// Of the evaluations on the validation split, by their judged loss. Results of other splits are
// passed over. It is a function of the lines of eval.jsonl alone, so a resumed run knows the same.
class BestState {
 public:
  explicit BestState(const InnerConfig& inner) : inner_(inner) {}

  // Whether it is better than all before; a loss that is not finite never is.
  bool add(const EvalResult& result);
  const std::optional<EvalResult>& best() const { return best_; }
  std::int64_t evaluations_since() const { return since_; }

 private:
  InnerConfig inner_;
  std::optional<EvalResult> best_;
  std::int64_t since_ = 0;
};

}  // namespace mixflow
