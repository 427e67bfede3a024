#include "sweep/result.h"

#include <cmath>

#include "train/metrics.h"
#include "util/error.h"
#include "util/file.h"
#include "util/text.h"

namespace mixflow {

std::optional<PointResult> result_of(const std::filesystem::path& run) {
  std::optional<EvalResult> test, watched;
  try {
    const std::string text = read_text(run / "eval.jsonl");
    for (const std::string_view line : split(text, '\n')) {
      if (line.empty()) continue;
      EvalResult result = parse_eval(std::string(line));
      (result.split == Split::test ? test : watched) = std::move(result);
    }
  } catch (const UserError&) {
    return std::nullopt;
  }
  const std::optional<EvalResult>& last = watched ? watched : test;
  if (!last || last->points.empty() || !std::isfinite(last->points.back().loss))
    return std::nullopt;
  const EvalPoint& point = last->points.back();
  return PointResult{.loss = point.loss, .inner_steps = point.inner_steps, .split = last->split};
}

}  // namespace mixflow
