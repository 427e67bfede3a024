// What a person sees while a run goes on: one line that is rewritten on a terminal, plain lines
// elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "util/clock.h"
#include "util/memory.h"  // format_bytes

namespace mixflow {

class Progress {
 public:
  // `total` meta-steps, `done` of them before this process.
  Progress(std::int64_t total, std::int64_t done, bool enabled);
  ~Progress();

  // Cheap: shows something at most ten times a second (terminal), or at doubling intervals up to a
  // minute (elsewhere).
  void update(std::int64_t step, double meta_loss);
  // A line of its own that stays.
  void note(const std::string& line);
  // The same, for an evaluation: how far it is.
  void evaluating(const std::string& what, std::int64_t done, std::int64_t total);
  // Ends the line so that other output can follow.
  void clear();

 private:
  bool due(Clock::time_point now);
  void show(std::int64_t step, double meta_loss, double elapsed);

  const std::int64_t total_, first_;
  const bool enabled_, terminal_;
  const Clock::time_point start_;
  Clock::time_point next_;
  double interval_;
  bool open_ = false;
};

// 4.2 s, 3 min 20 s, 2 h 5 min.
std::string format_seconds(double seconds);

}  // namespace mixflow
