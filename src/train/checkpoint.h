// The state of a run between two meta-steps, in one safetensors file that is replaced whole:
// meta-parameters, meta-optimiser state, the inner state if it is carried, and where the run's
// files ended.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "train/stage_run.h"

namespace mixflow {

struct CheckpointState {
  std::int64_t step = 0;  // meta-steps done
  double wall_s = 0;
  int threads = 1;  // partial sums are combined per thread, so bits depend on it
  std::int64_t metrics_bytes = 0, eval_bytes = 0, events_bytes = 0;
  double first_loss = 0;              // summary.json's mean over the first meta-steps
  std::vector<double> recent_losses;  // of the last meta-steps, oldest first (loss_window.h)
};

// Writes directory/step-<n>.safetensors; keeps the `keep` newest.
void save_checkpoint(const std::filesystem::path& directory, const CheckpointState& state,
                     const StageRun& run, std::size_t keep = 2);

// Loads the newest checkpoint into `run`; nothing if there is none. Throws UserError, with `run`
// unchanged, for a file that is damaged, is no checkpoint or belongs to another experiment.
std::optional<CheckpointState> load_checkpoint(const std::filesystem::path& directory,
                                               StageRun& run);

}  // namespace mixflow
