// What a person sees while a sweep goes on: one line that is rewritten on a terminal, plain lines
// elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "util/clock.h"

namespace mixflow {

struct SweepCounts {
  std::size_t points = 0, done = 0, failed = 0, skipped = 0;
  std::size_t running = 0;         // by this process
  std::size_t elsewhere = 0;       // by others
  double work = 0, work_left = 0;  // in the unit of Point::work()
};

class SweepView {
 public:
  explicit SweepView(bool enabled);
  ~SweepView() { clear(); }
  SweepView(const SweepView&) = delete;
  SweepView& operator=(const SweepView&) = delete;

  // Whether it is time to show something: ten times a second on a terminal, at doubling intervals
  // up to a minute elsewhere.
  bool due() const;
  void show(const SweepCounts& counts);
  // A line that stays, such as why a point failed.
  void note(const std::string& line);
  void clear();

 private:
  const bool enabled_, terminal_;
  const Clock::time_point start_;
  Clock::time_point next_;
  double interval_;
  std::optional<double> first_left_;  // work left at the first look
  bool open_ = false;
};

// "34/200 done, 2 running, 1 failed, ETA 3 min 20 s". `rate` in work per
// second; 0: unknown.
std::string progress_text(const SweepCounts& counts, double rate);

}  // namespace mixflow
