#include "sweep/runner.h"

#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <ctime>
#include <map>
#include <utility>

#include "sweep/child.h"
#include "sweep/claim.h"
#include "sweep/ledger.h"
#include "sweep/result.h"
#include "sweep/room.h"
#include "sweep/view.h"
#include "train/progress.h"
#include "train/signals.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {
namespace {

using Record = nlohmann::ordered_json;
using Life = ClaimState::Life;

// Starting a process and planning count as so much work: tiny points take their time too.
constexpr double kStartWork = 1e9;

// What a point's process printed; nothing where the file is lost: the sweep goes on.
std::string printed_by(const std::filesystem::path& run) {
  try {
    return read_text(run / "stderr.txt");
  } catch (const std::exception&) {
    return "";
  }
}

class Runner {
 public:
  Runner(const SweepDir& directory, const std::vector<Point>& points, const SweepOptions& options)
      : directory_(directory),
        options_(options),
        ledger_(directory.ledger()),
        room_(options.memory_bytes),
        scope_(memory_scope()),
        view_(options.progress),
        points_(of_shard(points, options.shard, options.shards)) {
    for (const Point* point : points_) {
      const PointStatus& status = ledger_.status(point->id);
      if (status.state == PointState::failed) failed_before_[point->id] = status.attempt;
    }
    for (const Point& point : points) all_.push_back(&point);
  }

  SweepSummary run();

 private:
  struct Job {
    const Point* point;
    Claim claim;
    Child child;
    pid_t pid;  // the child's; it knows it itself only while it runs
    RoomUse use;
    int heartbeat = 0;
  };

  bool is_settled(const Point& point) const;
  bool is_skipped(const Point& point) const;
  bool all_settled() const {
    return std::ranges::all_of(points_, [this](const Point* p) { return is_settled(*p); });
  }
  int free_attempt(const Point& point);
  std::vector<RoomUse> uses() const;
  void start_points();
  bool start(const Point& point, int attempt, const RoomUse& use);
  void skip(const Point& point);
  void reap();
  void finish(const Job& job, const ChildExit& exit);
  Record outcome(const Job& job, const ChildExit& exit);
  void beat();
  bool is_superseded(const Job& job) const {
    return inspect_claim(directory_.claims(), job.point->id, job.claim.attempt() + 1).life !=
           Life::none;
  }
  Record running_record(const Job& job) const;
  std::filesystem::path outcome_file(const Point& point) const {
    return directory_.run(point) / "outcome.json";
  }
  void stop();
  SweepCounts counts() const;
  SweepSummary summary() const;

  const SweepDir& directory_;
  const SweepOptions options_;
  Ledger ledger_;
  const Room room_;
  const std::string scope_;
  SweepView view_;
  std::vector<const Point*> points_;          // of the shard
  std::vector<const Point*> all_;             // of the sweep
  std::map<std::string, int> failed_before_;  // attempts that had failed when this process started
  std::map<std::pair<std::string, int>, Clock::time_point> first_seen_;  // claims without a record
  std::map<std::string, std::string> too_large_;                         // and why
  std::map<std::string, Clock::time_point> try_after_;                   // run directories in use
  std::vector<Job> jobs_;
  Clock::time_point last_beat_ = Clock::now();
  Clock::time_point start_after_;  // no process before
  bool stopping_ = false;
};

// SIGCHLD waits until it is asked for, so that a child's end ends the wait for it. Where it is
// ignored, which processes inherit, children would end without a trace.
class ChildSignals {
 public:
  ChildSignals() {
    struct sigaction by_default {};
    by_default.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &by_default, &old_action_);
    sigemptyset(&set_);
    sigaddset(&set_, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set_, &old_);
  }
  ~ChildSignals() {
    sigprocmask(SIG_SETMASK, &old_, nullptr);
    sigaction(SIGCHLD, &old_action_, nullptr);
  }
  ChildSignals(const ChildSignals&) = delete;
  ChildSignals& operator=(const ChildSignals&) = delete;

  // Until a child ends, a signal handler has run, or the time is over.
  void wait(std::chrono::milliseconds most) const {
    const timespec time{.tv_sec = 0, .tv_nsec = std::chrono::nanoseconds(most).count()};
    sigtimedwait(&set_, nullptr, &time);
  }

 private:
  sigset_t set_, old_;
  struct sigaction old_action_;
};

SweepSummary Runner::run() {
  const SignalGuard signals;
  const ChildSignals children;
  while (true) {
    reap();
    if (SignalGuard::stop_requested()) stop();
    if (!stopping_) start_points();
    beat();
    if (view_.due()) view_.show(counts());
    if (jobs_.empty() && (stopping_ || all_settled())) break;
    children.wait(std::chrono::milliseconds(200));
  }
  view_.clear();
  return summary();
}

bool Runner::is_settled(const Point& point) const {
  const PointStatus& status = ledger_.status(point.id);
  if (status.state == PointState::done) return true;
  if (status.state == PointState::failed) {
    const auto before = failed_before_.find(point.id);
    return !options_.retry_failed || before == failed_before_.end() ||
           before->second != status.attempt || too_large_.contains(point.id);
  }
  return is_skipped(point);
}

bool Runner::is_skipped(const Point& point) const {
  const PointState state = ledger_.status(point.id).state;
  const bool open = state == PointState::queued || state == PointState::skipped;
  return open && too_large_.contains(point.id);
}

// The attempt that this process may claim; 0 while somebody is at the point.
int Runner::free_attempt(const Point& point) {
  const PointStatus& status = ledger_.status(point.id);
  int last = status.attempt;
  ClaimState claim, next;
  while ((next = inspect_claim(directory_.claims(), point.id, last + 1)).life != Life::none) {
    claim = next;
    ++last;
  }
  if (last >= kMostAttempts) {
    throw UserError(directory_.ledger().string() + ": " + point.id + " has had " +
                    std::to_string(last) + " attempts; restore the file, or choose another --out");
  }
  if (last == 0) return 1;
  if (last == status.attempt) {
    if (status.state != PointState::running) return last + 1;
    claim = inspect_claim(directory_.claims(), point.id, last);
  }
  if (claim.life == Life::held) return 0;
  if (claim.life != Life::unknown) return last + 1;
  const Clock::time_point heard =
      last == status.attempt
          ? status.seen
          : first_seen_.try_emplace({point.id, last}, Clock::now()).first->second;
  return seconds_since(heard) > options_.stale_seconds ? last + 1 : 0;
}

// What runs on this machine: our jobs, and those of other processes that live.
std::vector<RoomUse> Runner::uses() const {
  std::vector<RoomUse> uses;
  for (const Job& job : jobs_) uses.push_back(job.use);
  for (const Point* point : all_) {
    const PointStatus& status = ledger_.status(point->id);
    if (status.state != PointState::running) continue;
    const nlohmann::json& record = status.record;
    if (record.value("boot", "") != this_process().boot ||
        record.value("pid", 0) == this_process().pid) {
      continue;
    }
    if (inspect_claim(directory_.claims(), point->id, status.attempt).life == Life::ended) continue;
    const bool shared = record.value("scope", "") == scope_;
    uses.push_back({.threads = record.value("threads", 0),
                    .cpus = record.value("cpus", std::vector<int>()),
                    .bytes = shared ? record.value("process_bytes", std::int64_t{0}) : 0});
  }
  return uses;
}

void Runner::start_points() {
  if (std::ssize(jobs_) >= options_.jobs || Clock::now() < start_after_) return;
  const Ledger::Lock lock(ledger_);
  std::vector<RoomUse> taken = uses();
  for (const Point* point : points_) {
    if (std::ssize(jobs_) >= options_.jobs || Clock::now() < start_after_) break;
    if (is_settled(*point)) continue;
    const bool allowed = options_.point_bytes == 0 || point->process_bytes <= options_.point_bytes;
    if (!allowed || !room_.fits_alone(*point)) {
      skip(*point);
      continue;
    }
    const auto later = try_after_.find(point->id);
    if (later != try_after_.end() && Clock::now() < later->second) continue;
    const std::optional<RoomUse> use = room_.place(*point, taken);
    if (!use) continue;
    const int attempt = free_attempt(*point);
    if (attempt > 0 && start(*point, attempt, *use)) taken.push_back(*use);
  }
}

// Does nothing while the point runs on a larger machine.
void Runner::skip(const Point& point) {
  const PointState state = ledger_.status(point.id).state;
  if (state == PointState::running && free_attempt(point) == 0) return;
  const bool by_limit = options_.point_bytes > 0 && point.process_bytes > options_.point_bytes;
  const std::string reason =
      "its process is planned to use " + format_bytes(point.process_bytes) + ", " +
      (by_limit ? "the sweep's memory is " + format_bytes(options_.point_bytes)
                : "this machine has " + format_bytes(room_.memory_bytes()) +
                      " for points (--memory-limit)");
  too_large_[point.id] = reason;
  view_.note(point.id + ": skipped: " + reason);
  if (state != PointState::skipped && state != PointState::failed) {
    ledger_.append({{"point", point.id}, {"state", "skipped"}, {"reason", reason}});
  }
}

bool Runner::start(const Point& point, int attempt, const RoomUse& use) {
  std::optional<Claim> claim = Claim::take(directory_.claims(), point.id, attempt);
  if (!claim) return false;
  directory_.prepare(point);
  const std::filesystem::path run = directory_.run(point);
  const ChildOptions child{
      .args = {"train", (run / "config.yaml").string(), "--out", run.string(), "--resume",
               "--quiet", "--outcome", outcome_file(point).string()},
      .error_file = run / "stderr.txt",
      .cpus = use.cpus,
      .memory_limit = memory_limit(point, options_.point_bytes),
      .inherited = claim->descriptor()};
  try {
    Child started(child);
    const pid_t pid = started.pid();
    jobs_.push_back({&point, std::move(*claim), std::move(started), pid, use});
  } catch (const RunError&) {  // too many processes: one that ends makes room
    if (jobs_.empty()) throw;
    start_after_ = Clock::now() + std::chrono::seconds(1);
    return false;
  }
  ledger_.append(running_record(jobs_.back()));
  return true;
}

Record Runner::running_record(const Job& job) const {
  const Owner& owner = this_process();
  return {{"point", job.point->id},
          {"state", "running"},
          {"attempt", job.claim.attempt()},
          {"host", owner.host},
          {"boot", owner.boot},
          {"pid", owner.pid},
          {"child", job.child.pid()},
          {"heartbeat", job.heartbeat},
          {"cpus", job.use.cpus},
          {"threads", job.use.threads},
          {"process_bytes", job.use.bytes},
          {"scope", scope_}};
}

void Runner::reap() {
  for (std::size_t i = 0; i < jobs_.size();) {
    if (const std::optional<ChildExit> exit = jobs_[i].child.poll()) {
      finish(jobs_[i], *exit);
      jobs_.erase(jobs_.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
}

void Runner::finish(const Job& job, const ChildExit& exit) {
  const Ledger::Lock lock(ledger_);
  if (is_superseded(job)) return;  // another process had reason to take us for dead
  const Record record = outcome(job, exit);
  ledger_.append(record);
  if (record["state"] == "failed") {
    view_.note(job.point->id + ": failed: " + record["reason"].get<std::string>());
  }
}

Record Runner::outcome(const Job& job, const ChildExit& exit) {
  Record record = {{"point", job.point->id}, {"state", "done"}, {"attempt", job.claim.attempt()}};
  const int status = exit.status;
  const bool interrupted = (WIFEXITED(status) && WEXITSTATUS(status) == 130) ||
                           (WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
  const std::filesystem::path run = directory_.run(*job.point);
  if (stopping_ && interrupted) {
    record["state"] = "queued";
    record["reason"] = "interrupted";
  } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    record["seconds"] = exit.seconds;
    record["peak_rss_bytes"] = exit.peak_rss_bytes;
    if (const std::optional<PointResult> result = result_of(run)) {
      record["loss"] = result->loss;
      record["split"] = name_of(result->split);
      record["inner_steps"] = result->inner_steps;
    }
  } else {
    const Failure failure =
        failure_of(exit, outcome_in(outcome_file(*job.point), job.pid), printed_by(run),
                   memory_limit(*job.point, options_.point_bytes));
    if (failure.kind == "in_use") {  // by a child of a process that was taken for dead, say
      try_after_[job.point->id] =
          Clock::now() + std::chrono::duration_cast<Clock::duration>(
                             std::chrono::duration<double>(options_.heartbeat_seconds));
      record["state"] = "queued";
      record["reason"] = "its run directory is in use";
      return record;
    }
    record["state"] = "failed";
    record["kind"] = failure.kind;
    record["reason"] = failure.reason;
    record["seconds"] = exit.seconds;
    record["peak_rss_bytes"] = exit.peak_rss_bytes;
  }
  return record;
}

void Runner::beat() {
  if (seconds_since(last_beat_) < options_.heartbeat_seconds) return;
  last_beat_ = Clock::now();
  const Ledger::Lock lock(ledger_);
  std::erase_if(jobs_, [this](const Job& job) { return is_superseded(job); });
  std::vector<Record> records;
  for (Job& job : jobs_) {
    ++job.heartbeat;
    records.push_back(running_record(job));
  }
  if (!records.empty()) ledger_.append_all(records);
}

void Runner::stop() {
  if (std::exchange(stopping_, true)) return;
  view_.note("interrupted: waiting for " + std::to_string(jobs_.size()) +
             " running point(s) to write checkpoints; once more ends at once");
  for (const Job& job : jobs_) job.child.signal(SIGTERM);
}

SweepCounts Runner::counts() const {
  SweepCounts counts{.points = points_.size(), .running = jobs_.size()};
  for (const Point* point : points_) {
    const PointStatus& status = ledger_.status(point->id);
    const double work = point->work() + kStartWork;
    counts.work += work;
    if (!is_settled(*point)) counts.work_left += work;
    counts.done += status.state == PointState::done;
    counts.failed += status.state == PointState::failed && is_settled(*point);
    counts.skipped += is_skipped(*point);
    counts.elsewhere += status.state == PointState::running &&
                        std::ranges::find(jobs_, point, &Job::point) == jobs_.end();
  }
  return counts;
}

SweepSummary Runner::summary() const {
  const SweepCounts last = counts();
  SweepSummary summary{.points = last.points,
                       .done = last.done,
                       .skipped = last.skipped,
                       .interrupted = stopping_ && !all_settled()};
  summary.best = best_settings(points_, [this](const Point& point) {
    const PointStatus& status = ledger_.status(point.id);
    return status.state == PointState::done ? Record(status.record) : Record();
  });
  for (const Point* point : points_) {
    const PointStatus& status = ledger_.status(point->id);
    if (status.state == PointState::failed) {
      ++summary.failed;
      summary.problems.push_back(
          {point->id, status.record.value("kind", ""), status.record.value("reason", "")});
    } else if (is_skipped(*point)) {
      summary.problems.push_back({point->id, "skipped", too_large_.at(point->id)});
    }
  }
  return summary;
}

}  // namespace

std::vector<const Point*> of_shard(const std::vector<Point>& points, int shard, int shards) {
  std::vector<const Point*> chosen;
  for (auto i = static_cast<std::size_t>(shard - 1); i < points.size();
       i += static_cast<std::size_t>(shards)) {
    chosen.push_back(&points[i]);
  }
  return chosen;
}

SweepSummary run_sweep(const SweepDir& directory, const std::vector<Point>& points,
                       const SweepOptions& options) {
  return Runner(directory, points, options).run();
}

}  // namespace mixflow
