// The meta-training loop: tasks in, meta-steps through the executor, metrics, held-out evaluation
// and checkpoints out.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/config.h"
#include "data/facts.h"
#include "train/metrics.h"
#include "train/run_dir.h"

namespace mixflow {

struct TrainOptions {
  std::filesystem::path out;  // the run directory
  Begin begin = Begin::fresh;
  bool progress = true;         // lines on stderr
  std::filesystem::path trace;  // where to write a trace of one meta-step (profile.h); empty: none
  std::int64_t* steps_done =
      nullptr;  // kept at the number of meta-steps done, for who sees an error
};

struct TrainSummary {
  std::string name;
  std::int64_t steps = 0;  // meta-steps done, those before a resume included
  bool interrupted = false;
  double seconds = 0;       // wall-clock of the whole run, interruptions not counted
  double first_step_s = 0;  // from the start of train() to the end of its first meta-step
  double step_s = 0;        // mean over this process, meta-steps alone
  double eval_s = 0;        // in evaluations, of this process
  // Means over the first and over the last meta-steps, and which these were (loss_window.h).
  double meta_loss_first = 0, meta_loss_last = 0;
  std::pair<std::int64_t, std::int64_t> first_steps, last_steps;
  // On the source's final split, with the first and the last meta-parameters. Of an interrupted
  // run: the first and the last evaluation along the way, none if there was no other.
  EvalResult before;
  std::optional<EvalResult> after;
  // The evaluation with the best validation loss (best.h), where meta.eval.every asks for some; its
  // state is in checkpoints/best, unless it is that before the first meta-step.
  std::optional<EvalResult> best;
  std::string best_loss;              // "0.123 after 5 inner steps"
  bool stopped_early = false;         // meta.early_stop
  std::vector<std::string> warnings;  // what makes the figures doubtful
  std::int64_t static_bytes = 0, dynamic_bytes = 0, arena_peak_bytes = 0, peak_rss_bytes = 0;
  std::string mode;
  // Planned, not measured: dynamic bytes of this config in mode reverse with the same
  // rematerialisation, and in plain reverse (baseline.h); 0: it cannot be planned.
  std::int64_t reverse_dynamic_bytes = 0, plain_reverse_dynamic_bytes = 0;
  double gflops = 0, mfu = 0;
  DataFacts data;  // what was read
  std::optional<double> bf16_cosine;  // in bf16, where it was compared with f32 (bf16_check.h)
};
// summary.json and `train --json`.
std::string to_json(const TrainSummary& summary);
// Back again, for a run that is resumed after its end. UserError for other JSON.
TrainSummary parse_summary(const std::string& json);
// For people.
std::string to_text(const TrainSummary& summary);

// Runs to the end, or to a signal (signals.h; summary.interrupted). A run that has ended already is
// left as it is. Throws UserError (config, existing run; a new run then leaves no directory
// behind), RunError (non-finite loss, disk). Whatever happens, the run directory holds only whole
// files and can be resumed.
TrainSummary train(const Config& config, const TrainOptions& options);

}  // namespace mixflow
