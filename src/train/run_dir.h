// A run directory: config.yaml (resolved), metrics.jsonl, eval.jsonl, the curves of both as
// TensorBoard events (tensorboard.h), summary.json, log.txt, checkpoints/, and lock (run_lock.h).
// None of them may be a symbolic link: what is written stays in the directory.
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

// How a run begins in its directory.
enum class Begin : std::uint8_t {
  fresh,      // no run may be there
  overwrite,  // the files of a run that is there are deleted
  resume,     // a run must be there
};

class RunDir {
 public:
  // Checks that a run of `config` may begin there so; creates nothing but the lock of a run that is
  // there already. Throws UserError: see Begin; the configuration of the run to resume differs
  // (saying where), its config.yaml is missing, or another process is at it.
  RunDir(std::filesystem::path path, const Config& config, Begin begin);

  // Makes the directory, takes its lock and writes config.yaml, where that has not happened yet,
  // and deletes what killed processes have left half written, or what is overwritten. Paths of data
  // files become absolute, so that the run can be resumed or repeated from any directory. Throws
  // UserError as the constructor does, for a run that has begun there since.
  void create(const Config& config);

  std::filesystem::path file(std::string_view name) const { return path_ / name; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  // The checkpoint of the best evaluation, alone in a directory of its own.
  std::filesystem::path best() const { return checkpoints() / "best"; }
  // Replaces a file whole. RunError where that is impossible: the run is under way by then.
  void write(std::string_view name, std::string_view text) const;
  // Makes the directory of the best checkpoint. RunError where that is impossible.
  void create_best() const;
  // Has the names of new files reach the disk.
  void sync() const;
  // The lines of eval.jsonl so far.
  std::vector<EvalResult> evals() const;
  // Steps and one number of the lines of metrics.jsonl so far.
  std::vector<std::pair<std::int64_t, double>> metric(const char* name) const;
  // RunError, with the reason, if the directory is not there any more.
  void check_there() const;

 private:
  bool holds_run() const;
  bool holds_checkpoints() const;
  [[noreturn]] void fail_taken() const;
  void check_resumable(const Config& config) const;
  void remove_run() const;

  std::filesystem::path path_;
  Begin begin_;
  std::optional<RunLock> lock_;
};

// The config.yaml of a run that is to be resumed. UserError if there is none, or no run.
std::filesystem::path config_of_run(const std::filesystem::path& directory);

}  // namespace mixflow
