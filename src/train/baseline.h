// What other modes of the same experiment would need, from their plans alone.
#pragma once

#include "data/source.h"
#include "meta/experiment.h"
#include "plan/program.h"

namespace mixflow {

// Plain reverse mode, what create_graph=True does in PyTorch: steps and blocks keep all that they
// compute, attention and the output layer are computed whole.
Config plain_reverse(Config config);

// Dynamic bytes of one meta-step of `config` in `mode`, everything else unchanged.
std::int64_t planned_dynamic_bytes(const Config& config, Mode mode, const DataSchema& source,
                                   DType dtype, const PlanOptions& plan);

// The experiment's type for its configured precision.
inline DType compute_type(const Config& config) {
  return config.precision == Precision::f64 ? DType::f64 : DType::f32;
}

// How its stages are planned for that many threads.
inline PlanOptions plan_options(const Config& config, int threads) {
  return {.threads = threads,
          .bf16 = config.precision == Precision::bf16,
          .inline_loops = config.gradient.remat.inline_loops};
}

}  // namespace mixflow
