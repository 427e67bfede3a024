#include "train/bench.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <span>
#include <utility>

#include "kernels/cpu.h"
#include "train/baseline.h"
#include "train/meta_step.h"
#include "train/metrics.h"
#include "train/progress.h"
#include "train/signals.h"
#include "train/threads.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/memory.h"

namespace mixflow {
namespace {

// A repetition runs meta-steps for about so long: clocks and caches disturb shorter ones.
constexpr double kRepetitionSeconds = 0.02;

std::int64_t needed_bytes(const BenchRow& row) {
  return row.plan.static_bytes + row.plan.dynamic_bytes + kBenchAllowanceBytes;
}

// Everything that one combination needs to run its meta-steps.
class Runner {
 public:
  explicit Runner(const Config& config)
      : source_(make_source(config)),
        experiment_(
            build_experiment(config, *source_, compute_type(config), meta_step_parts(config))),
        step_(experiment_, *source_,
              compile_stage(experiment_.train, plan_options(config, threads_of(config)))) {
    draw_initial_values(experiment_, step_.stage());
  }

  // Mean seconds of `count` meta-steps.
  double run(std::int64_t count) {
    const Clock::time_point start = Clock::now();
    for (std::int64_t i = 0; i < count; ++i) step_.run(1 + done_++ % experiment_.config.meta.steps);
    return seconds_since(start) / static_cast<double>(count);
  }
  Profile profile(int threads) {
    Trace trace(threads);
    const Clock::time_point start = Clock::now();
    step_.run(1 + done_++ % experiment_.config.meta.steps, &trace);
    return mixflow::profile(trace, seconds_since(start));
  }
  const StageRun& stage() const { return step_.stage(); }
  // What the last meta-step gave that is not finite; "" for nothing. Later ones mend nothing.
  std::string non_finite() const {
    for (const auto& [name, what] :
         {std::pair("outer_loss", "outer loss"), std::pair("meta_grad_norm", "meta-gradient")}) {
      if (!std::isfinite(stage().result(name))) {
        return std::string("the ") + what + " of meta-step " + std::to_string(done_) +
               " is not finite";
      }
    }
    return "";
  }

 private:
  const std::unique_ptr<TaskSource> source_;
  const Experiment experiment_;
  MetaStep step_;
  std::int64_t done_ = 0;
};

class Bench {
 public:
  Bench(const std::vector<Combination>& combinations, const BenchOptions& options)
      : combinations_(combinations), options_(options) {}

  BenchReport run();

 private:
  void plan();
  std::vector<std::size_t> choose();
  void measure(std::span<const std::size_t> which);
  std::unique_ptr<Runner> warmed_up(std::size_t row);
  void repeat(Runner& runner, BenchRow& row) const;
  void use_threads(int threads);
  void say(const std::string& line) const {
    if (options_.progress) options_.progress(line);
  }
  std::string name(std::size_t row) const {
    const std::string number = std::to_string(row + 1) + "/" + std::to_string(combinations_.size());
    const std::string settings = to_text(combinations_[row].settings);
    return settings.empty() ? number : number + " " + settings;
  }

  const std::vector<Combination>& combinations_;
  const BenchOptions& options_;
  BenchReport report_;
  std::int64_t first_rss_ = 0;
  int threads_ = 0;
};

void Bench::plan() {
  for (std::size_t i = 0; i < combinations_.size(); ++i) {
    if (SignalGuard::stop_requested()) return;
    const Config& config = combinations_[i].config;
    BenchRow row{.settings = combinations_[i].settings};
    row.plan =
        in_combination(row.settings, [&] { return plan_meta_step(config, *make_schema(config)); });
    row.has_mfu = config.precision != Precision::f64;
    say(name(i) + ": static " + format_bytes(row.plan.static_bytes) + ", dynamic " +
        format_bytes(row.plan.dynamic_bytes));
    report_.threads = std::max(report_.threads, row.plan.threads);
    report_.rows.push_back(std::move(row));
  }
}

// The rows to measure; the others say why not.
std::vector<std::size_t> Bench::choose() {
  std::vector<std::size_t> chosen;
  std::int64_t together = 0;
  for (std::size_t i = 0; i < report_.rows.size(); ++i) {
    BenchRow& row = report_.rows[i];
    const std::int64_t needed = needed_bytes(row);
    if (needed > options_.memory_limit_bytes) {
      row.reason = "planned only: needs " + format_bytes(needed) + ", the limit is " +
                   format_bytes(options_.memory_limit_bytes);
      continue;
    }
    row.reason = "interrupted";
    chosen.push_back(i);
    together = std::min(together, options_.memory_limit_bytes) + needed;
  }
  report_.interleaved = !chosen.empty() && together <= options_.memory_limit_bytes;
  return chosen;
}

void Bench::use_threads(int threads) {
  if (threads_ != threads) start_threads(threads);
  threads_ = threads;
}

std::unique_ptr<Runner> Bench::warmed_up(std::size_t i) {
  BenchRow& row = report_.rows[i];
  use_threads(row.plan.threads);
  malloc_trim(0);  // what planning left behind is not this combination's
  const std::int64_t before = rss_bytes();
  if (first_rss_ == 0) first_rss_ = before;
  auto runner = std::make_unique<Runner>(combinations_[i].config);
  const Clock::time_point start = Clock::now();
  double fastest = 0;
  for (int w = 0; w < options_.warmup || seconds_since(start) < kRepetitionSeconds; ++w) {
    if (SignalGuard::stop_requested()) return nullptr;
    const double seconds = runner->run(1);
    fastest = w == 0 ? seconds : std::min(fastest, seconds);
  }
  say(name(i) + ": warmed up, " + format_seconds(fastest) + " per meta-step");
  row.rss_bytes = first_rss_ + rss_bytes() - before;
  row.steps_per_rep = static_cast<std::int64_t>(std::ceil(kRepetitionSeconds / fastest));
  row.arena_peak_bytes = runner->stage().executor().arena_peak_bytes();
  if (row.arena_peak_bytes != row.plan.dynamic_bytes) {
    throw RunError("combination " + name(i) + ": the arena's measured peak is " +
                   std::to_string(row.arena_peak_bytes) + " bytes, but the plan says " +
                   std::to_string(row.plan.dynamic_bytes) + "; please report it");
  }
  return runner;
}

void Bench::repeat(Runner& runner, BenchRow& row) const {
  row.step_s.push_back(runner.run(row.steps_per_rep));
  row.measured = true;
  row.reason = static_cast<int>(row.step_s.size()) < options_.reps ? "interrupted" : "";
}

void Bench::measure(std::span<const std::size_t> which) {
  std::vector<std::unique_ptr<Runner>> runners;
  for (const std::size_t i : which) {
    if (SignalGuard::stop_requested()) return;
    runners.push_back(warmed_up(i));
    if (!runners.back()) return;
  }
  for (int rep = 0; rep < options_.reps; ++rep) {
    double seconds = 0;
    for (std::size_t r = 0; r < runners.size(); ++r) {
      if (SignalGuard::stop_requested()) return;
      BenchRow& row = report_.rows[which[r]];
      use_threads(row.plan.threads);
      repeat(*runners[r], row);
      seconds += row.step_s.back() * static_cast<double>(row.steps_per_rep);
    }
    say((which.size() == 1 ? name(which[0]) + ": repetition " : "round ") +
        std::to_string(rep + 1) + "/" + std::to_string(options_.reps) + ": " +
        format_seconds(seconds));
  }
  for (std::size_t r = 0; r < runners.size() && options_.profile; ++r) {
    if (SignalGuard::stop_requested()) return;
    BenchRow& row = report_.rows[which[r]];
    use_threads(row.plan.threads);
    row.profile = runners[r]->profile(row.plan.threads);
  }
  for (std::size_t r = 0; r < runners.size(); ++r) {
    const std::string found = runners[r]->non_finite();
    if (found.empty()) continue;
    report_.failures.push_back("combination " + name(which[r]) + ": " + found +
                               "; its times may not be typical. mixflow train with these settings "
                               "finds the operation that it began with");
  }
}

BenchReport Bench::run() {
  SignalGuard signals;
  report_.config = combinations_.front().config.file;
  report_.cpu = cpu_info().name;
  report_.ram_bytes = ram_bytes();
  report_.memory_limit_bytes = options_.memory_limit_bytes;
  report_.reps = options_.reps;
  report_.warmup = options_.warmup;
  plan();
  const bool bf16 = combinations_.front().config.precision == Precision::bf16;
  const std::vector<std::size_t> chosen = choose();
  if (report_.interleaved) {
    measure(chosen);
  } else {
    for (const std::size_t i : chosen) measure(std::span(&i, 1));
  }
  report_.interrupted = SignalGuard::stop_requested();
  report_.matmul_gflops = matmul_peak(report_.threads, bf16);
  return std::move(report_);
}

}  // namespace

BenchReport bench(const std::vector<Combination>& combinations, const BenchOptions& options) {
  MIXFLOW_CHECK(!combinations.empty() && options.reps > 0 && options.warmup > 0,
                "nothing to measure");
  return Bench(combinations, options).run();
}

}  // namespace mixflow
