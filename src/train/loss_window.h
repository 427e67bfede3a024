// The first and the last meta-losses of a run, smoothed for its summary.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <vector>

namespace mixflow {

// Means of up to kSize losses at either end. Allocates nothing in add().
class LossWindow {
 public:
  static constexpr std::size_t kSize = 100;

  void add(double loss) {
    if (count_ < kSize) first_ += (loss - first_) / static_cast<double>(count_ + 1);
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
  // NaN if there was none.
  double last() const {
    double sum = 0;
    const std::size_t n = std::min(count_, kSize);
    for (std::size_t i = 0; i < n; ++i) sum += ring_[(count_ - n + i) % kSize];
    return n > 0 ? sum / static_cast<double>(n) : std::numeric_limits<double>::quiet_NaN();
  }
  // The last losses, oldest first.
  std::vector<double> recent() const {
    std::vector<double> losses;
    for (std::size_t n = std::min(count_, kSize), i = 0; i < n; ++i)
      losses.push_back(ring_[(count_ - n + i) % kSize]);
    return losses;
  }

 private:
  std::array<double, kSize> ring_{};
  double first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace mixflow
