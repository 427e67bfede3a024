#include "train/baseline.h"

#include "train/stage_run.h"

namespace mixflow {

Config plain_reverse(Config config) {
  config.gradient.mode = Mode::reverse;
  config.gradient.remat.step = false;
  config.gradient.remat.block = false;
  config.gradient.remat.policy = {};
  config.gradient.blocks = {.attention = -1, .feed_forward = -1, .cross_entropy = -1};
  return config;
}

std::int64_t planned_dynamic_bytes(const Config& config, Mode mode, const DataSchema& source,
                                   DType dtype, const PlanOptions& plan) {
  Config other = config;
  other.gradient.mode = mode;
  const Experiment experiment = build_experiment(other, source, dtype, {.train = true});
  return compile(experiment.train.graph, donations_of(experiment.train), plan)->dynamic_bytes;
}

}  // namespace mixflow
