// Means and what they are worth: sums that lose no digits, and 95 % confidence intervals.
#pragma once

#include <cstdint>

namespace mixflow {

// Mean and variance of numbers that come one by one (Welford 1962). A NaN makes both NaN.
class Moments {
 public:
  void add(double x) {
    ++count_;
    const double delta = x - mean_;
    mean_ += delta / static_cast<double>(count_);
    squares_ += delta * (x - mean_);
  }
  std::int64_t count() const { return count_; }
  double mean() const { return mean_; }  // 0 of none
  // The sample's (n - 1); 0 of fewer than two.
  double variance() const { return count_ < 2 ? 0 : squares_ / static_cast<double>(count_ - 1); }

 private:
  std::int64_t count_ = 0;
  double mean_ = 0, squares_ = 0;
};

// Half the width of the 95 % interval of the mean of n numbers of that sample variance, by
// Student's t with n - 1 degrees of freedom; 0 for fewer than two.
double mean_ci95(double variance, std::int64_t n);

// Of a share of n trials: how far the farther limit of Wilson's 95 % score interval (1927) is from
// it. Not 0 where all or none of them succeed.
double share_ci95(double share, std::int64_t n);

}  // namespace mixflow
