#include "train/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "util/memory.h"
#include "util/text.h"

namespace mixflow {

Progress::Progress(std::int64_t total, std::int64_t done, bool enabled)
    : total_(total),
      first_(done),
      enabled_(enabled),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(Clock::now()),
      next_(start_),
      interval_(terminal_ ? 0.1 : 5.0) {
  if (!terminal_) next_ += std::chrono::seconds(5);
}

Progress::~Progress() { clear(); }

bool Progress::due(Clock::time_point now) {
  if (!enabled_ || now < next_) return false;
  next_ =
      now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(interval_));
  if (!terminal_) interval_ = std::min(interval_ * 2, 60.0);
  return true;
}

void Progress::update(std::int64_t step, double meta_loss) {
  const Clock::time_point now = Clock::now();
  if (due(now)) show(step, meta_loss, std::chrono::duration<double>(now - start_).count());
}

void Progress::show(std::int64_t step, double meta_loss, double elapsed) {
  const double rate = elapsed > 0 ? static_cast<double>(step - first_) / elapsed : 0;
  const std::string eta =
      rate > 0 ? format_seconds(static_cast<double>(total_ - step) / rate) : "?";
  const std::string speed =
      rate >= 1 || rate <= 0 ? formatted("%.1f steps/s", rate) : format_seconds(1 / rate) + "/step";
  std::fprintf(stderr, "%sstep %lld/%lld  meta-loss %.5g  %s  ETA %s%s",
               terminal_ ? "\r\033[K" : "", static_cast<long long>(step),
               static_cast<long long>(total_), meta_loss, speed.c_str(), eta.c_str(),
               terminal_ ? "" : "\n");
  std::fflush(stderr);
  open_ = terminal_;
}

void Progress::note(const std::string& line) {
  if (!enabled_) return;
  clear();
  std::fprintf(stderr, "%s\n", line.c_str());
  std::fflush(stderr);
}

void Progress::evaluating(const std::string& what, std::int64_t done, std::int64_t total) {
  if (!due(Clock::now())) return;
  std::fprintf(stderr, "%sevaluating, %s: %lld/%lld%s", terminal_ ? "\r\033[K" : "", what.c_str(),
               static_cast<long long>(done), static_cast<long long>(total), terminal_ ? "" : "\n");
  std::fflush(stderr);
  open_ = terminal_;
}

void Progress::clear() {
  if (!open_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  open_ = false;
}

std::string format_seconds(double seconds) {
  char text[64];
  if (seconds < 1) {
    std::snprintf(text, sizeof text, "%.3g s", seconds);
  } else if (seconds < 60) {
    std::snprintf(text, sizeof text, "%.1f s", seconds);
  } else if (seconds < 3600) {
    std::snprintf(text, sizeof text, "%d min %d s", static_cast<int>(seconds / 60),
                  static_cast<int>(std::fmod(seconds, 60)));
  } else {
    std::snprintf(text, sizeof text, "%d h %d min", static_cast<int>(seconds / 3600),
                  static_cast<int>(std::fmod(seconds, 3600) / 60));
  }
  return text;
}

}  // namespace mixflow
