// Lines of metrics.jsonl and eval.jsonl.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/split.h"

namespace mixflow {

// One meta-step. Times are of this process; *_bytes as design: static, dynamic planned, arena
// measured.
struct MetricsLine {
  std::int64_t step = 0;
  double meta_loss = 0;
  double inner_loss_first = 0, inner_loss_last = 0;
  double meta_grad_norm = 0;
  double meta_lr = 0;
  double step_s = 0;  // mean over the meta-steps since the last line, nothing else counted
  double wall_s = 0;  // since the run began, interruptions not counted
  double gflops = 0;  // model FLOPs per second
  double mfu = 0;     // gflops over the measured matmul peak
  double examples_per_s = 0;
  std::int64_t static_bytes = 0, dynamic_bytes = 0, arena_peak_bytes = 0, rss_bytes = 0;
};
std::string to_json(const MetricsLine& line);

// Held-out results after one number of inner steps: means, and half the width of their 95 %
// intervals (interval.h): over tasks, or over the examples of the one task there is.
struct EvalPoint {
  std::int64_t inner_steps = 0;
  double loss = 0, loss_ci95 = 0;
  double accuracy = 0, accuracy_ci95 = 0;
};
struct EvalResult {
  std::int64_t step = 0;  // meta-steps done
  Split split = Split::test;
  std::int64_t tasks = 0;
  // Outer examples of the one task that intervals are over; 0: they are over the tasks.
  std::int64_t examples = 0;
  bool repetitions = false;  // tasks differ in their inner batches alone
  bool trained_on = false;   // the outer loss of training reads this split
  // Every task starts from the theta_0 that training started from, which nothing learns.
  bool trained_start = false;
  bool has_accuracy = false;
  std::vector<EvalPoint> points;
  // Where the inner state is carried: the held-out outer loss of its theta as it stands, and how
  // many inner steps led there.
  std::optional<double> state_loss;
  std::int64_t state_inner_steps = 0;
};
std::string to_json(const EvalResult& result);
// Back again; what was not finite is NaN. UserError for other JSON.
EvalResult parse_eval(const std::string& json);

// For people, one line: all of it for the log, and what matters in 80 columns for the terminal.
std::string to_line(const EvalResult& result);
std::string to_text(const EvalResult& result);
// "test, 8 tasks", "validation (trained on), 60 examples": what an evaluation is of.
std::string extent_text(const EvalResult& result);

// Resident memory of this process now, and its highest so far.
std::int64_t rss_bytes();
std::int64_t peak_rss_bytes();

}  // namespace mixflow
