#include "kernels/reduce.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/rows.h"
#include "kernels/team.h"

namespace mixflow {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr std::int64_t kColumns = 512;                 // of sums kept on the stack: 4 KiB
constexpr std::int64_t kParallelElements = 1'000'000;  // below, one thread is faster

struct Axis {
  std::int64_t size, stride;
};

// Calls visit(offset) for every index of `axes`, the last one fastest.
template <class Visit>
void for_each_offset(const std::vector<Axis>& axes, std::size_t depth, std::int64_t offset,
                     const Visit& visit) {
  if (depth == axes.size()) {
    visit(offset);
    return;
  }
  for (std::int64_t i = 0; i < axes[depth].size; ++i) {
    for_each_offset(axes, depth + 1, offset + i * axes[depth].stride, visit);
  }
}

std::int64_t count(const std::vector<Axis>& axes) {
  std::int64_t n = 1;
  for (const Axis& axis : axes) n *= axis.size;
  return n;
}

// Offset of the i-th index of `axes` in row-major order.
std::int64_t offset_of(const std::vector<Axis>& axes, std::int64_t i) {
  std::int64_t offset = 0;
  for (std::size_t axis = axes.size(); axis-- > 0;) {
    offset += i % axes[axis].size * axes[axis].stride;
    i /= axes[axis].size;
  }
  return offset;
}

// Neighbouring axes of one kind are one axis. The innermost is a contiguous run, either reduced
// into one element or kept as a row of elements; the others are walked.
class Reduce final : public Kernel {
 public:
  Reduce(Reduction reduction, const std::vector<std::int64_t>& shape,
         const std::vector<std::int64_t>& axes, int threads)
      : rows_(row_kernels()), reduction_(reduction) {
    std::vector<std::pair<Axis, bool>> merged;  // innermost first
    std::int64_t stride = 1;
    for (std::size_t i = shape.size(); i-- > 0;) {
      const bool reduced = std::ranges::binary_search(axes, static_cast<std::int64_t>(i));
      if (shape[i] != 1 && !merged.empty() && merged.back().second == reduced) {
        merged.back().first.size *= shape[i];
      } else if (shape[i] != 1) {
        merged.push_back({{shape[i], stride}, reduced});
      }
      stride *= shape[i];
    }
    if (!merged.empty()) {
      run_ = merged.front().first.size;
      run_reduced_ = merged.front().second;
      merged.erase(merged.begin());
    }
    for (auto it = merged.rbegin(); it != merged.rend(); ++it)
      (it->second ? reduced_ : kept_).push_back(it->first);
    outputs_ = count(kept_);
    threads_ = stride > kParallelElements ? threads : 1;
  }

  void run(const std::byte* const* in, std::byte* const* out, std::byte*) const override {
    const auto* x = reinterpret_cast<const float*>(in[0]);
    auto* y = reinterpret_cast<float*>(out[0]);
    const std::int64_t pieces = run_reduced_ ? 1 : (run_ + kColumns - 1) / kColumns;
    const std::int64_t items = outputs_ * pieces;
    share_items(threads_, items, [&](std::int64_t item, int) { reduce_item(item, pieces, x, y); });
  }

 private:
  void reduce_item(std::int64_t item, std::int64_t pieces, const float* x, float* y) const {
    const std::int64_t output = item / pieces;
    const float* from = x + offset_of(kept_, output);
    if (run_reduced_) {
      y[output] = reduction_ == Reduction::sum ? sum_of_runs(from) : max_of_runs(from);
      return;
    }
    const std::int64_t first = item % pieces * kColumns;
    const std::int64_t n = std::min(kColumns, run_ - first);
    from += first;
    float* to = y + output * run_ + first;
    if (reduction_ == Reduction::max) {
      std::fill_n(to, n, kLowest);
      for_each_offset(reduced_, 0, 0,
                      [&](std::int64_t offset) { rows_.max_into(to, from + offset, n); });
      return;
    }
    double sums[kColumns];
    std::fill_n(sums, n, 0.0);
    for_each_offset(reduced_, 0, 0,
                    [&](std::int64_t offset) { rows_.accumulate(sums, from + offset, n); });
    std::transform(sums, sums + n, to, [](double sum) { return static_cast<float>(sum); });
  }

  float sum_of_runs(const float* from) const {
    double sum = 0;
    for_each_offset(reduced_, 0, 0,
                    [&](std::int64_t offset) { sum += rows_.sum(from + offset, run_); });
    return static_cast<float>(sum);
  }

  float max_of_runs(const float* from) const {
    float most = kLowest;
    for_each_offset(reduced_, 0, 0, [&](std::int64_t offset) {
      most = std::max(most, rows_.max(from + offset, run_));
    });
    return most;
  }

  const RowKernels& rows_;
  const Reduction reduction_;
  std::int64_t run_ = 1;
  bool run_reduced_ = false;
  std::vector<Axis> kept_, reduced_;
  std::int64_t outputs_ = 1;
  int threads_ = 1;
};

class LogSumExp final : public Kernel {
 public:
  LogSumExp(std::int64_t rows, std::int64_t cols, int threads)
      : rows_(row_kernels()),
        num_rows_(rows),
        cols_(cols),
        threads_(rows * cols > kParallelElements / 8 ? threads : 1) {}

  void run(const std::byte* const* in, std::byte* const* out, std::byte*) const override {
    const auto* x = reinterpret_cast<const float*>(in[0]);
    auto* y = reinterpret_cast<float*>(out[0]);
    share_items(threads_, num_rows_, [&](std::int64_t i, int) { y[i] = row(x + i * cols_); });
  }

 private:
  float row(const float* x) const {
    const float most = rows_.max(x, cols_);
    if (!std::isfinite(most)) {
      // e^(x - most) means nothing. A NaN wins, then an infinity, and -inf everywhere (or no
      // element) gives -inf.
      const bool any_nan = std::any_of(x, x + cols_, [](float v) { return std::isnan(v); });
      return any_nan ? std::numeric_limits<float>::quiet_NaN() : most;
    }
    return static_cast<float>(static_cast<double>(most) + std::log(rows_.sum_exp(x, cols_, most)));
  }

  const RowKernels& rows_;
  const std::int64_t num_rows_, cols_;
  const int threads_;
};

}  // namespace

std::unique_ptr<Kernel> make_reduce(Reduction reduction, const std::vector<std::int64_t>& shape,
                                    const std::vector<std::int64_t>& axes, int threads) {
  return std::make_unique<Reduce>(reduction, shape, axes, threads);
}

std::unique_ptr<Kernel> make_logsumexp(std::int64_t rows, std::int64_t cols, int threads) {
  return std::make_unique<LogSumExp>(rows, cols, threads);
}

}  // namespace mixflow
