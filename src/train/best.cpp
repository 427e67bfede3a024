#include "train/best.h"

#include <algorithm>
#include <cmath>

#include "util/error.h"

namespace mixflow {

Judged judged(const EvalResult& result, const InnerConfig& inner) {
  if (result.state_loss) return {*result.state_loss, 0, "of the carried inner state"};
  MIXFLOW_CHECK(!result.points.empty(), "an evaluation has at least one point");
  const auto trained = std::ranges::find(result.points, inner.steps, &EvalPoint::inner_steps);
  const EvalPoint& point = trained != result.points.end() ? *trained : result.points.back();
  return {point.loss, point.loss_ci95,
          "after " + std::to_string(point.inner_steps) + " inner steps"};
}

bool BestState::add(const EvalResult& result) {
  if (result.split != Split::validation) return false;
  const double loss = judged(result, inner_).loss;
  if (std::isfinite(loss) && (!best_ || loss < judged(*best_, inner_).loss)) {
    best_ = result;
    since_ = 0;
    return true;
  }
  ++since_;
  return false;
}

}  // namespace mixflow
