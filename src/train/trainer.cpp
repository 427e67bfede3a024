#include "train/trainer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <limits>

#include "config/load.h"
#include "config/names.h"
#include "data/source.h"
#include "meta/experiment.h"
#include "train/append_file.h"
#include "train/baseline.h"
#include "train/best.h"
#include "train/bf16_check.h"
#include "train/checkpoint.h"
#include "train/diagnosis.h"
#include "train/doubts.h"
#include "train/evaluator.h"
#include "train/identity.h"
#include "train/idle_plan.h"
#include "train/inner_state.h"
#include "train/loss_window.h"
#include "train/matmul_peak.h"
#include "train/memory_check.h"
#include "train/meta_step.h"
#include "train/profile.h"
#include "train/progress.h"
#include "train/run_dir.h"
#include "train/run_log.h"
#include "train/schedule.h"
#include "train/signals.h"
#include "train/stage_run.h"
#include "train/tensorboard.h"
#include "train/threads.h"
#include "train/unmoved.h"
#include "util/clock.h"
#include "util/failure.h"
#include "util/file.h"
#include "util/text.h"

namespace mixflow {
namespace {

// Records are handed to the system when the next meta-step would leave them behind for longer.
constexpr double kLiveSeconds = 1;
// Evaluations that take longer tell how long they took on the terminal, too.
constexpr double kLongSeconds = 5;

double unix_seconds() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// After so many meta-steps, meta-parameters that have not moved are told.
constexpr std::int64_t kFirstSteps = 10;

Parts parts_of(const Config& config) {
  Parts parts = meta_step_parts(config);
  parts.eval = true;
  return parts;
}

// On the terminal, before the first meta-step.
void show(const DataFacts& facts) {
  if (facts.empty()) return;
  for (const std::string& line : to_lines(facts)) std::fprintf(stderr, "%s\n", line.c_str());
  for (const std::string& note : facts.notes)
    std::fprintf(stderr, "  %s\n", visible_line(note).c_str());
  for (const std::string& warning : facts.warnings) spdlog::warn("{}", warning);
}

class Trainer {
 public:
  Trainer(const Config& config, const TrainOptions& options)
      : start_(Clock::now()),
        options_(options),
        run_dir_(options.out, config, options.begin),
        asked_eval_tasks_(config.meta.eval.tasks),
        threads_(start_threads(config.threads)),
        source_(make_source(config)),
        bf16_(check_bf16(config, *source_, threads_)),
        experiment_(build_experiment(config, *source_, compute_type(config), parts_of(config))),
        plan_(plan_options(config, threads_)),
        eval_programs_(compile_evals(experiment_, plan_)),
        step_(make_step()),
        train_(step_.stage()),
        evaluator_(experiment_, *source_, eval_programs_, train_),
        losses_(config.meta.steps),
        best_(config.inner),
        domains_(experiment_.config) {
    restore();
    run_dir_.create(config);
    log_.emplace(run_dir_.file("log.txt"));
    for (const std::string& line : told_) log_->warn(line);
  }

  // Logs how it went, and what stopped it.
  TrainSummary run();

 private:
  const Config& config() const { return experiment_.config; }
  // Training and evaluation take turns in one arena.
  MetaStep make_step() const {
    ProgramPtr program = compile_stage(experiment_.train, plan_);
    const std::int64_t bytes = std::max(program->dynamic_bytes, eval_programs_.dynamic_bytes());
    require_memory(config(),
                   {.static_bytes = program->static_bytes + data_input_bytes(experiment_.eval) +
                                    data_input_bytes(experiment_.validation_eval),
                    .dynamic_bytes = bytes});
    return {experiment_,
            *source_,
            std::move(program),
            {.arena = std::make_shared<Arena>(bytes, Arena::Kind::working)}};
  }
  std::optional<CheckpointState> reset_state();
  void restore();
  void log_start();
  void open_files();
  void replay();
  void loop();
  void summarize();
  void write_trace(std::int64_t t, const Trace& trace);
  void check_step(std::int64_t t);
  void check_state(std::int64_t t);
  void check(const EvalResult& result) const;
  [[noreturn]] void fail(std::int64_t t, const std::string& what);
  std::string explain(std::int64_t t);
  std::string last_checkpoint() const;
  void warn(const std::string& line);
  void log(std::int64_t t);
  void evaluate(std::int64_t t, Split split);
  void evaluate_watched(std::int64_t t);
  void evaluate_ends(std::int64_t t);
  bool checkpoint_due(std::int64_t t) const;
  void flush();
  void note(const EvalResult& result);
  bool stops_early() const;
  bool has_ended() const;
  void summarize_doubts();
  std::int64_t reverse_bytes(const Config& other);
  double mfu(double gflops);
  void save(const std::filesystem::path& directory, std::size_t keep);
  void warn_of_data();
  void summarize_evals();
  void checkpoint(std::int64_t t);
  void mark(std::int64_t t);
  double wall() const { return wall_before_ + seconds_since(start_); }
  std::int64_t log_every() const { return std::max<std::int64_t>(config().meta.steps / 1000, 1); }

  const Clock::time_point start_;
  const TrainOptions options_;
  RunDir run_dir_;
  const std::int64_t asked_eval_tasks_;
  const int threads_;
  const std::unique_ptr<TaskSource> source_;
  const std::optional<Bf16Figure> bf16_;  // before anything else has memory
  const Experiment experiment_;
  const PlanOptions plan_;
  const EvalPrograms eval_programs_;
  MetaStep step_;
  StageRun& train_;  // step_'s
  Evaluator evaluator_;

  CheckpointState state_;
  std::vector<std::string> told_;  // about a run that goes on elsewhere
  std::optional<RunLog> log_;
  std::optional<AppendFile> metrics_, evals_, events_;
  std::optional<Progress> progress_;
  double wall_before_ = 0;
  LossWindow losses_;
  BestState best_;
  NormGrowth norms_;
  DomainWatch domains_;
  std::array<std::int64_t, 3> evaluated_{-1, -1, -1};  // last meta-step, by Split
  Clock::time_point flushed_, saved_;  // when the files, and a checkpoint, last were
  double steps_s_ = 0;                 // in meta-steps, by this process
  double evals_s_ = 0;                 // in evaluations
  double logged_steps_s_ = 0;          // at the last line of metrics
  std::int64_t begin_ = 0, logged_step_ = 0;
  bool told_mfu_ = false;
  TrainSummary summary_;
};

// The state of the newest checkpoint, which is returned, or of a run's beginning.
std::optional<CheckpointState> Trainer::reset_state() {
  for (const Port& port : train_.stage().inputs) {
    if (port.role == Role::meta_state) std::ranges::fill(train_.input(port.name), std::byte{0});
  }
  draw_initial_values(experiment_, train_);
  return load_checkpoint(run_dir_.checkpoints(), train_);
}

void Trainer::restore() {
  state_.identity = identity_of(config(), source_->facts());
  if (options_.begin != Begin::resume) return draw_initial_values(experiment_, train_);
  const std::optional<CheckpointState> saved = reset_state();
  if (!saved) return;
  if (saved->threads != threads_) {
    throw UserError(options_.out.string() + ": the run used " + std::to_string(saved->threads) +
                    " threads, this process " + std::to_string(threads_) +
                    "; sums would differ in their last bits: pass --threads " +
                    std::to_string(saved->threads));
  }
  const std::string checkpoint = newest_checkpoint(run_dir_.checkpoints())->string();
  const std::vector<std::string> other = differences(saved->identity, state_.identity, checkpoint);
  if (!other.empty()) {
    told_.push_back("the run goes on with " + join(other, ", ") +
                    ": its last bits may differ from those of a run without a break");
    spdlog::warn("{}: {}", options_.out.string(), told_.back());
  }
  const Identity now = state_.identity;
  state_ = *saved;
  state_.identity = now;
  wall_before_ = state_.wall_s;
  losses_.restore(state_.first_loss, state_.step, state_.recent_losses);
}

void Trainer::log_start() {
  const Program& program = train_.program();
  log_->info("mixflow " MIXFLOW_VERSION ": " + config().name + ", mode " +
             std::string(name_of(config().gradient.mode)) + ", " +
             std::string(name_of(config().precision)) + ", " + std::to_string(threads_) +
             " threads, kernels " + kernels_name());
  if (machine_code_is_refused()) {
    log_->warn(
        "the system gives no memory for machine code: kernels do without it, are slower, "
        "and have other last bits");
  }
  for (const std::string& warning : config().warnings) log_->warn(warning);
  Config given = config();
  given.meta.eval.tasks = asked_eval_tasks_;
  for (const IdleSetting& setting : idle_in_plan(given, *source_, threads_)) {
    warn(idle_text(config(), setting));
  }
  log_->info("plan: static " + format_bytes(program.static_bytes) + ", dynamic " +
             format_bytes(program.dynamic_bytes) + ", " + std::to_string(program.flop) +
             " FLOPs per meta-step, " + std::to_string(program.nodes) + " nodes, " +
             std::to_string(experiment_.theta_size) + " inner parameters");
  const DataFacts facts = source_->facts();
  for (const std::string& line : to_lines(facts)) log_->info(line);
  for (const std::string& note : facts.notes) log_->info(note);
  for (const std::string& warning : facts.warnings) log_->warn(warning);
  if (options_.progress) show(facts);
  if (!facts.empty()) run_dir_.write("data.json", to_json(facts) + "\n");
  if (bf16_) {
    log_->info("bf16: one meta-gradient beside float32's: least cosine " +
               formatted("%.6f", bf16_->cosine) +
               (bf16_->tensor.empty() ? "" : ", " + bf16_->tensor));
  }
  if (begin_ > 0) log_->info("resumed after meta-step " + std::to_string(begin_));
  warn_of_data();
}

TrainSummary Trainer::run() {
  begin_ = state_.step;
  if (begin_ >= config().meta.steps || has_ended()) {
    const std::filesystem::path saved = run_dir_.file("summary.json");
    try {
      return parse_summary(read_text(saved));
    } catch (const UserError& error) {
      throw UserError(saved.string() + ": the run has ended, but " + error.what());
    }
  }
  SignalGuard signals;
  try {
    log_start();
    loop();
    summarize();
  } catch (const std::exception& error) {
    log_->error(error.what());
    throw;
  }
  log_->info((summary_.interrupted ? "interrupted after meta-step " : "done: meta-step ") +
             std::to_string(summary_.steps) + ", " + format_seconds(summary_.seconds) + ", " +
             format_seconds(summary_.step_s) + " per meta-step, measured dynamic memory " +
             format_bytes(summary_.arena_peak_bytes));
  return summary_;
}

// A run that stopped early has its summary before its last checkpoint.
bool Trainer::has_ended() const {
  const std::filesystem::path saved = run_dir_.file("summary.json");
  std::error_code ignored;
  if (config().meta.early_stop.patience == 0 || !std::filesystem::exists(saved, ignored)) {
    return false;
  }
  const TrainSummary summary = parse_summary(read_text(saved));
  return summary.stopped_early && summary.steps == begin_;
}

void Trainer::open_files() {
  metrics_.emplace(run_dir_.file("metrics.jsonl"), state_.metrics);
  evals_.emplace(run_dir_.file("eval.jsonl"), state_.evals);
  events_.emplace(run_dir_.file(kEventsFile), state_.events);
  if (state_.events.bytes == 0) events_->append(version_event(unix_seconds()));
  run_dir_.sync();
}

// What a resumed run knows of its past: the lines up to its checkpoint.
void Trainer::replay() {
  for (const EvalResult& result : run_dir_.evals()) note(result);
  for (const auto& [step, norm] : run_dir_.metric("meta_grad_norm")) {
    if (const auto warning = norms_.add(step, norm)) warn(*warning);
  }
}

void Trainer::loop() {
  const std::int64_t steps = config().meta.steps;
  open_files();
  replay();
  if (state_.evals.bytes == 0) {
    progress_.emplace(steps, begin_, options_.progress);
    evaluate_ends(0);
  }
  progress_.emplace(steps, begin_, options_.progress);  // rates count from here
  flushed_ = saved_ = Clock::now();
  std::optional<Unmoved> start;
  if (begin_ == 0) start.emplace(experiment_.eta, train_);
  std::int64_t t = begin_;
  logged_step_ = begin_;
  while (t < steps && !stops_early() && !SignalGuard::stop_requested()) {
    const Clock::time_point step_start = Clock::now();
    ++t;
    std::optional<Trace> trace;
    if (!options_.trace.empty() && t == std::min(begin_ + 2, steps)) trace.emplace(threads_);
    step_.run(t, trace ? &*trace : nullptr);
    if (options_.steps_done != nullptr) *options_.steps_done = t;
    const double step_s = seconds_since(step_start);
    steps_s_ += step_s;
    if (t == begin_ + 1) summary_.first_step_s = seconds_since(start_);
    if (trace) write_trace(t, *trace);
    check_step(t);
    losses_.add(train_.result("outer_loss"));
    if (start && t == std::min(kFirstSteps, steps)) warn(start->text(train_, t));
    if (t % log_every() == 0 || t == steps) log(t);
    const std::int64_t every = config().meta.eval.every;
    if (every > 0 && t % every == 0 && t < steps) evaluate_watched(t);
    if (checkpoint_due(t) && t < steps) checkpoint(t);
    progress_->update(t, losses_.last());
    if (seconds_since(flushed_) + step_s > kLiveSeconds) flush();
  }
  summary_.steps = t;
  summary_.stopped_early = t < steps && stops_early();
  summary_.interrupted = t < steps && !summary_.stopped_early;
  check_state(t);
  if (!summary_.interrupted) evaluate_ends(t);
  progress_->clear();
}

bool Trainer::checkpoint_due(std::int64_t t) const {
  const MetaConfig& meta = config().meta;
  return t % meta.checkpoint_every == 0 ||
         (meta.checkpoint_minutes > 0 && seconds_since(saved_) > 60 * meta.checkpoint_minutes);
}

// What was appended is there for readers, also after a kill; not synced.
void Trainer::flush() {
  metrics_->flush();
  evals_->flush();
  events_->flush();
  flushed_ = Clock::now();
}

// From the file: the first evaluations of a resumed run are another process's.
void Trainer::summarize_evals() {
  const bool along = summary_.interrupted && config().meta.eval.every > 0;
  const Split split = along ? watched_splits(*source_).back() : source_->final_split();
  evals_->sync();
  std::vector<EvalResult> evals = run_dir_.evals();
  std::erase_if(evals, [&](const EvalResult& result) { return result.split != split; });
  MIXFLOW_CHECK(!evals.empty(), "every run begins with an evaluation");
  summary_.before = evals.front();
  if (evals.back().step > 0) summary_.after = evals.back();
}

// An interrupted run's checkpoint comes first: another signal may end the process at any time. A
// finished run's comes after the summary: a run whose checkpoint says that it has ended has its
// summary.
void Trainer::summarize() {
  const std::int64_t done = summary_.steps - begin_;
  if (summary_.interrupted && done > 0) checkpoint(summary_.steps);
  const Program& program = train_.program();
  summarize_evals();
  summarize_doubts();
  summary_.name = config().name;
  summary_.mode = std::string(name_of(config().gradient.mode));
  if (bf16_) summary_.bf16_cosine = bf16_->cosine;
  summary_.step_s = done > 0 ? steps_s_ / static_cast<double>(done) : 0;
  summary_.meta_loss_first = losses_.first();
  summary_.meta_loss_last = losses_.last();
  summary_.first_steps = losses_.first_steps();
  summary_.last_steps = losses_.last_steps();
  summary_.eval_s = evals_s_;
  summary_.static_bytes = program.static_bytes;
  summary_.dynamic_bytes = program.dynamic_bytes;
  summary_.arena_peak_bytes = train_.executor().arena_peak_bytes();
  summary_.peak_rss_bytes = peak_rss_bytes();
  summary_.reverse_dynamic_bytes = reverse_bytes(config());
  summary_.plain_reverse_dynamic_bytes = reverse_bytes(plain_reverse(config()));
  summary_.gflops = summary_.step_s > 0
                        ? static_cast<double>(experiment_.model_flop) / summary_.step_s * 1e-9
                        : 0;
  summary_.mfu = mfu(summary_.gflops);
  summary_.data = source_->facts();
  summary_.seconds = wall();
  run_dir_.write("summary.json", to_json(summary_) + "\n");
  if (!summary_.interrupted && done > 0) checkpoint(summary_.steps);
}

void Trainer::summarize_doubts() {
  for (const std::string& warning : domains_.look(summary_.steps, train_)) warn(warning);
  if (summary_.after) {
    if (const auto worse = worse_than_before(summary_.before, *summary_.after, config().inner)) {
      warn(*worse);
    }
  }
  if (config().meta.eval.every == 0 || !best_.best()) return;
  summary_.best = best_.best();
  const Judged loss = judged(*summary_.best, config().inner);
  summary_.best_loss = formatted("%.4g ", loss.loss) + loss.name;
}

// Of a meta-step in mode reverse; 0 where it cannot be planned.
std::int64_t Trainer::reverse_bytes(const Config& other) {
  try {
    return planned_dynamic_bytes(other, Mode::reverse, *source_, experiment_.dtype, plan_);
  } catch (const UserError& error) {
    log_->info(std::string("reverse mode cannot be planned: ") + error.what());
    return 0;
  }
}

// NaN, which JSON has as null, where the peak is none.
double Trainer::mfu(double gflops) {
  const double peak = matmul_peak(threads_, plan_.bf16);
  const std::optional<double> mfu = mfu_of(gflops, peak);
  if (mfu) return *mfu;
  if (!told_mfu_) {
    log_->warn(formatted("MFU above 1 at a matmul peak of %.3g GFLOP/s: ", peak) + kPeakUnderLoad);
  }
  told_mfu_ = true;
  return std::numeric_limits<double>::quiet_NaN();
}

void Trainer::write_trace(std::int64_t t, const Trace& trace) {
  try {
    write_atomically(options_.trace, to_chrome_json(trace));
  } catch (const UserError& error) {  // wrong only since the run began
    throw IoError(error.what());
  }
  log_->info("trace of meta-step " + std::to_string(t) + " in " + options_.trace.string());
}

void Trainer::check_step(std::int64_t t) {
  const double loss = train_.result("outer_loss"), norm = train_.result("meta_grad_norm");
  if (std::isfinite(loss) && std::isfinite(norm)) return;
  // The sign of a NaN means nothing.
  const auto text = [](double x) { return std::isnan(x) ? "nan" : number_text(x); };
  fail(t, std::string("the ") + (std::isfinite(loss) ? "meta-gradient" : "outer loss") +
              " is not finite (outer loss " + text(loss) + ", meta-gradient norm " + text(norm) +
              ")");
}

// Of what the next meta-step and the run's results begin from.
void Trainer::check_state(std::int64_t t) {
  for (const Port& port : train_.stage().inputs) {
    if (!outlives_meta_step(port.role)) continue;
    const std::optional<NonFinite> found = find_non_finite(port.type, train_.input(port.name));
    if (found) fail(t, port.name + found->place + " is not finite (" + found->text + ")");
  }
}

// Nothing of an evaluation is written that another program would read as null.
void Trainer::check(const EvalResult& result) const {
  const auto fail_eval = [&](const std::string& after, const std::string& way_out) {
    throw NonFiniteError("meta-step " + std::to_string(result.step) + ": the held-out loss (" +
                         std::string(name_of(result.split)) + ", " + after + ") is not finite. " +
                         way_out + ". " + last_checkpoint());
  };
  const EvalPoint* finite = nullptr;
  for (const EvalPoint& point : result.points) {
    if (!std::isfinite(point.loss)) {
      const std::string steps = std::to_string(point.inner_steps);
      std::string why = finite ? "After " + std::to_string(finite->inner_steps) + " it is " +
                                     formatted("%.4g", finite->loss) + ": the inner steps diverge. "
                               : "";
      why += "Lower inner.optimizer.lr";
      if (point.inner_steps > config().inner.steps)
        why += ", or take " + steps + " out of meta.eval.steps: training takes " +
               std::to_string(config().inner.steps);
      if (!finite) why += ", or look at the magnitude of the data (data.normalize)";
      fail_eval("after " + steps + " inner steps", why);
    }
    finite = &point;
  }
  if (result.state_loss && !std::isfinite(*result.state_loss)) {
    fail_eval("of the carried inner state after " + std::to_string(result.state_inner_steps) +
                  " inner steps",
              "Lower inner.optimizer.lr, or set inner.reset_every");
  }
}

void Trainer::fail(std::int64_t t, const std::string& what) {
  const std::string why = explain(t);
  throw NonFiniteError("meta-step " + std::to_string(t) + ": " + what + ". " +
                       (why.empty() ? "" : why + ". ") + last_checkpoint());
}

// Meta-step t once more, watched, from the state before it. That is gone, since a step writes it
// over, and comes from the last checkpoint and the meta-steps since. "" where that cannot be told.
std::string Trainer::explain(std::int64_t t) {
  try {
    const std::optional<CheckpointState> saved = reset_state();
    const std::int64_t from = saved ? saved->step : 0;
    if (t - from > 1) {
      log_->info("repeats meta-steps " + std::to_string(from + 1) + " to " + std::to_string(t) +
                 " to find out where it began");
    }
    for (std::int64_t k = from + 1; k < t; ++k) {
      if (SignalGuard::stop_requested()) return "";
      step_.run(k);
    }
    step_.prepare(t);
    return diagnose(experiment_, train_);
  } catch (const std::exception& error) {  // what went wrong first is what is reported
    log_->warn(std::string("where it began was not found: ") + error.what());
    return "";
  }
}

std::string Trainer::last_checkpoint() const {
  const std::optional<std::filesystem::path> path = newest_checkpoint(run_dir_.checkpoints());
  return path ? "The last whole checkpoint is " + path->string()
              : "No checkpoint was written before";
}

// In the log, the summary and on the terminal; nothing for an empty line.
void Trainer::warn(const std::string& line) {
  if (line.empty()) return;
  if (progress_) progress_->clear();
  log_->warn(line);
  if (options_.progress) spdlog::warn("{}", line);
  summary_.warnings.push_back(line);
}

void Trainer::log(std::int64_t t) {
  const std::vector<double> inner = train_.results("inner_loss");
  const Program& program = train_.program();
  MetricsLine line;
  line.step = t;
  line.meta_loss = train_.result("outer_loss");
  line.inner_loss_first = inner.front();
  line.inner_loss_last = inner.back();
  line.meta_grad_norm = train_.result("meta_grad_norm");
  line.meta_lr =
      scheduled_lr(config().meta.schedule, config().meta.optimizer.lr, t, config().meta.steps);
  line.step_s = (steps_s_ - logged_steps_s_) / static_cast<double>(t - logged_step_);
  line.wall_s = wall();
  line.gflops = static_cast<double>(experiment_.model_flop) / line.step_s * 1e-9;
  line.mfu = mfu(line.gflops);
  const std::int64_t examples =
      config().meta.batch *
      (config().inner.steps * source_->inner_batch() + source_->outer_batch(Split::train));
  line.examples_per_s = static_cast<double>(examples) / line.step_s;
  line.static_bytes = program.static_bytes;
  line.dynamic_bytes = program.dynamic_bytes;
  line.arena_peak_bytes = train_.executor().arena_peak_bytes();
  line.rss_bytes = rss_bytes();
  metrics_->append(to_json(line) + "\n");
  events_->append(to_event(line, unix_seconds()));
  logged_step_ = t;
  logged_steps_s_ = steps_s_;
  if (const auto warning = norms_.add(t, line.meta_grad_norm)) warn(*warning);
  for (const std::string& warning : domains_.look(t, train_)) warn(warning);
}

void Trainer::evaluate(std::int64_t t, Split split) {
  if (evaluated_[static_cast<std::size_t>(split)] == t) return;
  flush();  // it may take long
  const Clock::time_point start = Clock::now();
  const EvalResult result = evaluator_.run(split, t, [&](std::int64_t done, std::int64_t tasks) {
    progress_->evaluating(std::string(name_of(split)) + " tasks", done, tasks);
  });
  progress_->clear();
  const double seconds = seconds_since(start);
  const std::string took = " (in " + format_seconds(seconds) + ")";
  evals_s_ += seconds;
  check(result);
  evals_->append(to_json(result) + "\n");
  events_->append(to_event(result, unix_seconds()));
  log_->info(to_text(result) + took);
  progress_->note(to_line(result) + (seconds > kLongSeconds ? took : ""));
  flush();
  note(result);
  // The state before the first meta-step is the seed's.
  if (t == 0 || config().meta.eval.every == 0 || !best_.best() || best_.evaluations_since() > 0 ||
      split != Split::validation) {
    return;
  }
  run_dir_.create_best();
  check_state(t);
  mark(t);
  save(run_dir_.best(), 1);
}

void Trainer::note(const EvalResult& result) {
  evaluated_[static_cast<std::size_t>(result.split)] = result.step;
  best_.add(result);
}

bool Trainer::stops_early() const {
  const std::int64_t patience = config().meta.early_stop.patience;
  return patience > 0 && best_.evaluations_since() >= patience;
}

void Trainer::evaluate_watched(std::int64_t t) {
  for (const Split split : watched_splits(*source_)) evaluate(t, split);
}

// Before the first and after the last meta-step: the final split, and those that are watched along
// the way. A sweep chooses by validation data also where nothing is watched.
void Trainer::evaluate_ends(std::int64_t t) {
  evaluate(t, source_->final_split());
  if (config().meta.eval.every == 0 && t == 0) return;
  for (const Split split : watched_splits(*source_)) {
    if (split != source_->final_split()) evaluate(t, split);
  }
}

// What the config alone could not know.
void Trainer::warn_of_data() {
  if (config().meta.batch > 1 && source_->one_task(Split::train)) {
    warn(origin(config(), "meta.batch") + ": all " + std::to_string(config().meta.batch) +
         " tasks are the same, row by row: set meta.batch: 1, which computes the same result, or "
         "make them differ by data.batch or data.outer_batch");
  }
  if (asked_eval_tasks_ == 0 && config().meta.eval.tasks > 1) {
    log_->info("meta.eval.tasks: " + std::to_string(config().meta.eval.tasks) +
               " in each evaluation, of 4 to 100, by a tenth of what training costs");
  }
}

void Trainer::checkpoint(std::int64_t t) {
  check_state(t);
  mark(t);
  save(run_dir_.checkpoints(), 2);
  saved_ = Clock::now();
}

void Trainer::save(const std::filesystem::path& directory, std::size_t keep) {
  try {
    save_checkpoint(directory, state_, train_, keep);
  } catch (const UserError& error) {  // wrong only since the run began
    run_dir_.check_there();
    throw IoError(error.what());
  }
}

// What a checkpoint after meta-step t says beside its tensors.
void Trainer::mark(std::int64_t t) {
  state_.step = t;
  state_.wall_s = wall();
  state_.threads = threads_;
  state_.first_loss = losses_.first();
  state_.recent_losses = losses_.recent();
  state_.metrics = metrics_->sync();
  state_.evals = evals_->sync();
  state_.events = events_->sync();
}

}  // namespace

TrainSummary train(const Config& config, const TrainOptions& options) {
  return Trainer(config, options).run();
}

}  // namespace mixflow
