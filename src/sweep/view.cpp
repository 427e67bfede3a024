#include "sweep/view.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "train/progress.h"
#include "util/text.h"

namespace mixflow {
namespace {

// Columns of the terminal that stderr is; a line that wraps cannot be rewritten.
std::size_t columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

SweepView::SweepView(bool enabled)
    : enabled_(enabled),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(Clock::now()),
      next_(start_ + std::chrono::seconds(terminal_ ? 0 : 5)),
      interval_(terminal_ ? 0.1 : 5.0) {}

bool SweepView::due() const { return enabled_ && (Clock::now() >= next_ || !first_left_); }

void SweepView::show(const SweepCounts& counts) {
  const Clock::time_point now = Clock::now();
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  if (!first_left_) first_left_ = counts.work_left;
  if (now < next_) return;
  next_ =
      now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(interval_));
  if (!terminal_) interval_ = std::min(interval_ * 2, 60.0);
  const double rate = elapsed > 0 ? (*first_left_ - counts.work_left) / elapsed : 0;
  std::string line = progress_text(counts, rate);
  if (terminal_ && line.size() >= columns()) line.resize(columns() - 1);
  std::fprintf(stderr, "%s%s%s", terminal_ ? "\r\033[K" : "", visible_line(line).c_str(),
               terminal_ ? "" : "\n");
  std::fflush(stderr);
  open_ = terminal_;
}

void SweepView::note(const std::string& line) {
  if (!enabled_) return;
  clear();
  std::fprintf(stderr, "%s\n", visible(line).c_str());
}

void SweepView::clear() {
  if (!open_) return;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  open_ = false;
}

std::string progress_text(const SweepCounts& counts, double rate) {
  std::string text = std::to_string(counts.done) + "/" + std::to_string(counts.points) + " done, " +
                     std::to_string(counts.running) + " running";
  if (counts.elsewhere > 0) text += ", " + std::to_string(counts.elsewhere) + " elsewhere";
  text += ", " + std::to_string(counts.failed) + " failed";
  if (counts.skipped > 0) text += ", " + std::to_string(counts.skipped) + " skipped";
  text += ", ETA " + (rate > 0 ? format_seconds(counts.work_left / rate) : std::string("?"));
  return text;
}

}  // namespace mixflow
