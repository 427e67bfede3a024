// A point's process: this program again, as `mixflow train`. It dies with the sweep.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/outcome.h"
#include "util/clock.h"

namespace mixflow {

struct ChildOptions {
  std::vector<std::string> args;     // after the program's name
  std::filesystem::path error_file;  // takes its stderr; stdout goes nowhere
  std::vector<int> cpus;             // it may run on these only; empty: as this process
  std::int64_t memory_limit = 0;     // of its data (RLIMIT_DATA), in bytes; 0: none
  int inherited = -1;                // a descriptor that it keeps open
};

struct ChildExit {
  int status = 0;  // of waitpid
  std::int64_t peak_rss_bytes = 0;
  double seconds = 0;
};

class Child {
 public:
  // Starts it in a process group of its own: Ctrl-C reaches this process, which passes it on.
  // Throws RunError.
  explicit Child(const ChildOptions& options);
  // Kills it if it still runs.
  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  Child(const Child&) = delete;

  // How it ended, once it has. Throws RunError where SIGCHLD is ignored: nobody knows then.
  std::optional<ChildExit> poll();
  void signal(int number) const;
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  Clock::time_point start_;
};

// Why a point's process failed.
struct Failure {
  std::string kind;  // a code of TrainOutcome, or crash: killed by a signal
  std::string reason;
};
// From its exit, what it said of itself (`train --outcome`; none where it had no time to) and,
// where it said nothing, what it printed; `limit` as in ChildOptions.
Failure failure_of(const ChildExit& exit, const std::optional<TrainOutcome>& outcome,
                   const std::string& printed, std::int64_t limit);
// The outcome that the process `pid` left in the file; none if there is none, or another's.
std::optional<TrainOutcome> outcome_in(const std::filesystem::path& file, pid_t pid);

}  // namespace mixflow
