// What makes the figures of a run doubtful, told once each: a meta-gradient that has grown out of
// all proportion, hyper-parameters outside their domain, a training that ended worse than it began.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/config.h"
#include "train/best.h"
#include "train/stage_run.h"

namespace mixflow {

// Meta-gradient norms of the logged meta-steps, in turn.
class NormGrowth {
 public:
  // The warning, if `norm` is the first that is 10^3 times the largest of the first ten.
  std::optional<std::string> add(std::int64_t step, double norm);

 private:
  std::int64_t count_ = 0;
  double early_ = 0;  // the largest so far of the first ten
  bool told_ = false;
};

// Meta-parameters as they are after meta-step t: rates, decays and strengths that are below 0, and
// momenta outside [0, 1), which nothing in the config keeps inside.
class DomainWatch {
 public:
  explicit DomainWatch(const Config& config) : config_(config) {}
  // A warning for each kind that has not been warned of. Reads the tensors where they are.
  std::vector<std::string> look(std::int64_t step, const StageRun& run);

 private:
  const Config& config_;
  std::set<MetaKind> told_;
};

// Of two evaluations of one split, before and after training: by more than the interval of the
// second, or no longer finite.
std::optional<std::string> worse_than_before(const EvalResult& before, const EvalResult& after,
                                             const InnerConfig& inner);

}  // namespace mixflow
