// A run directory: config.yaml (resolved), metrics.jsonl, eval.jsonl, the curves of both as
// TensorBoard events (tensorboard.h), summary.json, log.txt, checkpoints/, and lock (run_lock.h).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.h"
#include "train/metrics.h"
#include "train/run_lock.h"

namespace mixflow {

class RunDir {
 public:
  // Checks that a run of `config` may go there; creates nothing but the lock of a run that is there
  // already. Throws UserError: the directory holds a run already and `resume` is false, that run's
  // configuration differs (saying where), or another process is at it.
  RunDir(std::filesystem::path path, const Config& config, bool resume);

  // Makes the directory, takes its lock and writes config.yaml, where that has not happened yet,
  // and deletes what killed processes have left half written. Paths of data files become absolute,
  // so that the run can be resumed or repeated from any directory. Throws UserError as the
  // constructor does, for a run that has begun there since.
  void create(const Config& config);

  std::filesystem::path file(std::string_view name) const { return path_ / name; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  // The checkpoint of the best evaluation, alone in a directory of its own.
  std::filesystem::path best() const { return checkpoints() / "best"; }
  // Replaces a file whole.
  void write(std::string_view name, std::string_view text) const;
  // The lines of eval.jsonl so far.
  std::vector<EvalResult> evals() const;
  // Steps and one number of the lines of metrics.jsonl so far.
  std::vector<std::pair<std::int64_t, double>> metric(const char* name) const;

 private:
  bool holds_run() const;

  std::filesystem::path path_;
  std::optional<RunLock> lock_;
};

}  // namespace mixflow
