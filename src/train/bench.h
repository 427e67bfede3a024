// `mixflow bench`: time and memory of one meta-step for every combination of some settings. Each
// combination is planned; those that fit into memory are measured, in rounds over all of them
// where they fit together, so that all see the same state of the machine.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/over.h"
#include "train/memory_check.h"
#include "train/planned.h"
#include "train/profile.h"

namespace mixflow {

// Counted for a combination beside its plan: graphs, kernels, the data source, library buffers.
inline constexpr std::int64_t kBenchAllowanceBytes = kAllowanceBytes;

struct BenchOptions {
  int reps = 5;
  int warmup = 1;  // at least so many meta-steps, and 20 ms, before the first repetition; > 0
  std::int64_t memory_limit_bytes = 0;
  bool profile = false;  // one more meta-step of each, with a clock on every kernel
  std::function<void(const std::string&)> progress;  // lines for people, as it goes on
};

struct BenchRow {
  KeyValues settings;
  PlannedStep plan;
  bool measured = false;
  std::string reason;  // why it was not measured, or not to the end
  // Seconds per meta-step, one for each repetition: the mean over `steps_per_rep` meta-steps, as
  // many as take about 20 ms.
  std::vector<double> step_s;
  std::int64_t steps_per_rep = 1;
  std::int64_t arena_peak_bytes = 0;
  // Of the process, had it run this combination alone: its growth from before the combination was
  // built to after its warm-up, and what it was before the first one.
  std::int64_t rss_bytes = 0;
  std::optional<Profile> profile;
  bool has_mfu = false;  // f32: the peak is measured in that type
  double median_s() const;
  double gflops() const;  // model FLOPs over the median
  // Over the matmul peak of the plan's threads; nothing for f64, and where it would be above 1.
  std::optional<double> mfu() const;
};

struct BenchReport {
  std::string config;
  std::string cpu;
  int threads = 1;  // the most of any row
  double matmul_gflops = 0;
  std::int64_t ram_bytes = 0, memory_limit_bytes = 0;
  int reps = 0, warmup = 0;
  bool interleaved = false;
  bool interrupted = false;
  std::vector<BenchRow> rows;
  std::vector<std::string> failures;  // meta-steps that gave values that are not finite
};
// For programs, for people, and for tables: one line per repetition.
std::string to_json(const BenchReport& report);
std::string to_text(const BenchReport& report);
std::string to_csv(const BenchReport& report);

// Ends early, with what has been measured, on SIGINT. RunError where the memory measured is not
// what was planned; UserError, naming the combination, for a config that cannot be built.
BenchReport bench(const std::vector<Combination>& combinations, const BenchOptions& options);

}  // namespace mixflow
