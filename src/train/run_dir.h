// A run directory: config.yaml (resolved), metrics.jsonl, eval.jsonl, the curves of both as
// TensorBoard events (tensorboard.h), summary.json, log.txt, checkpoints/.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "train/metrics.h"

namespace mixflow {

class RunDir {
 public:
  // Checks that a run of `config` may go there; creates nothing. Throws UserError: the directory
  // holds a run already and `resume` is false, or that run's configuration differs (saying where).
  RunDir(std::filesystem::path path, const Config& config, bool resume);

  // Makes the directory and writes config.yaml, where they are not there yet. Paths of data files
  // become absolute, so that the run can be resumed or repeated from any directory.
  void create(const Config& config) const;

  std::filesystem::path file(std::string_view name) const { return path_ / name; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  // Replaces a file whole.
  void write(std::string_view name, std::string_view text) const;
  // The lines of eval.jsonl so far.
  std::vector<EvalResult> evals() const;

 private:
  std::filesystem::path path_;
};

}  // namespace mixflow
