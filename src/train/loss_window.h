// The first and the last meta-losses of a run, smoothed for its summary.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace mixflow {

// Means over the first and over the last meta-steps of a run: a quarter of them each, up to kSize,
// so that the two share none. Allocates nothing in add().
class LossWindow {
 public:
  static constexpr std::size_t kSize = 100;
  using Steps = std::pair<std::int64_t, std::int64_t>;  // first and last, from 1

  // Of a run that is to have so many meta-steps.
  explicit LossWindow(std::int64_t steps)
      : size_(std::clamp<std::size_t>(static_cast<std::size_t>(steps) / 4, 1, kSize)) {}

  void add(double loss) {
    if (count_ < size_) first_ += (loss - first_) / static_cast<double>(count_ + 1);
    ring_[count_ % kSize] = loss;
    ++count_;
  }
  // As after `count` losses: `first` is the mean of the first ones, `recent` are the last ones.
  void restore(double first, std::int64_t count, const std::vector<double>& recent) {
    first_ = first;
    count_ = static_cast<std::size_t>(count);
    for (std::size_t i = 0; i < recent.size(); ++i)
      ring_[(count_ - recent.size() + i) % kSize] = recent[i];
  }

  double first() const { return first_; }
  Steps first_steps() const {
    return {count_ > 0, static_cast<std::int64_t>(std::min(count_, size_))};
  }
  // NaN if there was none.
  double last() const {
    double sum = 0;
    const std::size_t n = last_count();
    for (std::size_t i = 0; i < n; ++i) sum += ring_[(count_ - n + i) % kSize];
    return n > 0 ? sum / static_cast<double>(n) : std::numeric_limits<double>::quiet_NaN();
  }
  Steps last_steps() const {
    const auto count = static_cast<std::int64_t>(count_);
    return {count_ > 0 ? count - static_cast<std::int64_t>(last_count()) + 1 : 0, count};
  }
  // The last losses, oldest first.
  std::vector<double> recent() const {
    std::vector<double> losses;
    for (std::size_t n = std::min(count_, kSize), i = 0; i < n; ++i)
      losses.push_back(ring_[(count_ - n + i) % kSize]);
    return losses;
  }

 private:
  // Of a run that stops early, those after the first window, or the last one alone.
  std::size_t last_count() const {
    return count_ > size_ ? std::min(count_ - size_, size_) : std::min<std::size_t>(count_, 1);
  }

  std::size_t size_;
  std::array<double, kSize> ring_{};
  double first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace mixflow
