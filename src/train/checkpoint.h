// The state of a run between two meta-steps, in one safetensors file that is replaced whole:
// meta-parameters, meta-optimiser state, the inner state if it is carried, how far the run's files
// had got, and what the run's numbers depend on. The file carries a hash of all its bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "train/append_file.h"
#include "train/identity.h"
#include "train/stage_run.h"

namespace mixflow {

struct CheckpointState {
  std::int64_t step = 0;  // meta-steps done
  double wall_s = 0;
  int threads = 1;  // partial sums are combined per thread, so bits depend on it
  Identity identity;
  FileMark metrics, evals, events;
  double first_loss = 0;              // summary.json's mean over the first meta-steps
  std::vector<double> recent_losses;  // of the last meta-steps, oldest first (loss_window.h)
};

// Writes directory/step-<n>.safetensors; keeps the `keep` newest.
void save_checkpoint(const std::filesystem::path& directory, const CheckpointState& state,
                     const StageRun& run, std::size_t keep = 2);

// The newest checkpoint's file, if there is one.
std::optional<std::filesystem::path> newest_checkpoint(const std::filesystem::path& directory);

// Loads the newest checkpoint into `run`; nothing if there is none. Throws UserError, with `run`
// unchanged, for a file that is damaged, is no checkpoint or belongs to another experiment; the
// message says what to do about it.
std::optional<CheckpointState> load_checkpoint(const std::filesystem::path& directory,
                                               StageRun& run);

}  // namespace mixflow
