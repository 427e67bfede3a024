#include "train/baseline.h"

#include "train/stage_run.h"

namespace mixflow {

std::int64_t planned_dynamic_bytes(const Config& config, Mode mode, const DataSchema& source,
                                   DType dtype, const PlanOptions& plan) {
  Config other = config;
  other.gradient.mode = mode;
  const Experiment experiment = build_experiment(other, source, dtype, {.train = true});
  return compile(experiment.train.graph, donations_of(experiment.train), plan)->dynamic_bytes;
}

}  // namespace mixflow
