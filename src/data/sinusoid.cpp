#include "data/sinusoid.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "data/split.h"
#include "util/error.h"
#include "util/rng.h"

namespace mixflow {

namespace {

// x less the nearest multiple k of pi, then an odd polynomial on [-pi/2, pi/2], negated for odd k.
// Everything in double: no reduction in several parts is needed, and the result rounds to the right
// float but for rare ties.
inline double reduced_sin(double x) {
  constexpr double kInversePi = 0.31830988618379067, kPi = 3.1415926535897932;
  // Adding and subtracting 1.5 * 2^52 rounds to the nearest integer without a branch or a library
  // call.
  constexpr double kRound = 6755399441055744.0;
  const double k = (x * kInversePi + kRound) - kRound;
  const double half = k * 0.5;
  const double odd = 2.0 * std::abs(half - ((half + kRound) - kRound));  // 1 if k is odd, else 0
  const double r = x - k * kPi;
  const double s = r * r;
  // Taylor's coefficients to r^15: the first term left out is below 6e-12 on the interval.
  const double p =
      r + r * s *
              (-1.0 / 6 +
               s * (1.0 / 120 + s * (-1.0 / 5040 +
                                     s * (1.0 / 362880 + s * (-1.0 / 39916800 +
                                                              s * (1.0 / 6227020800 -
                                                                   s * (1.0 / 1307674368000)))))));
  return p - 2.0 * odd * p;
}

struct Task {
  double amplitude, phase, frequency;
};

class Sinusoid final : public TaskSource {
 public:
  Sinusoid(const SinusoidData& data, std::uint64_t seed) : data_(data), seed_(seed) {
    const auto magnitude = [](const Range& range) {
      return std::max(std::abs(range[0]), std::abs(range[1]));
    };
    largest_angle_ = magnitude(data.frequency) * magnitude(data.x) + magnitude(data.phase);
  }

  std::vector<Field> fields() const override {
    return {{"x", DType::f32, {1}}, {"y", DType::f32, {1}}};
  }
  std::int64_t inner_batch() const override { return data_.shots; }
  std::int64_t outer_batch(Split) const override { return data_.queries; }
  Split watched_split() const override { return Split::validation; }
  bool same_batch_every_step() const override { return true; }
  std::int64_t output_width() const override { return 1; }

  void fill_task(Split split, std::uint64_t index, std::int64_t task, std::int64_t,
                 Precision precision, std::span<std::byte* const> inner,
                 std::span<std::byte* const> outer) const override {
    precision == Precision::f64 ? fill_as<double>(split, index, task, inner, outer)
                                : fill_as<float>(split, index, task, inner, outer);
  }

 private:
  template <class T>
  void fill_as(Split split, std::uint64_t index, std::int64_t n, std::span<std::byte* const> inner,
               std::span<std::byte* const> outer) const {
    Rng rng(seed_, purpose_of(split), index, static_cast<std::uint32_t>(n));
    std::array<double, 3> u;
    rng.fill_uniform(u);
    const auto between = [](const Range& range, double at) {
      return range[0] + (range[1] - range[0]) * at;
    };
    const Task task{between(data_.amplitude, u[0]), between(data_.phase, u[1]),
                    between(data_.frequency, u[2])};
    for (const auto& [fields, count] :
         {std::pair(inner, data_.shots), std::pair(outer, data_.queries)}) {
      const std::int64_t begin = n * count;
      fill_points(
          rng, task,
          std::span(reinterpret_cast<T*>(fields[0]) + begin, static_cast<std::size_t>(count)),
          reinterpret_cast<T*>(fields[1]) + begin);
    }
  }

  // The points of one task, as many at a time as fit a small buffer.
  template <class T>
  void fill_points(Rng& rng, const Task& task, std::span<T> x, T* y) const {
    constexpr std::size_t kChunk = 64;
    std::array<double, kChunk> points;
    const double low = data_.x[0], width = data_.x[1] - data_.x[0];
    for (std::size_t begin = 0; begin < x.size(); begin += kChunk) {
      const std::size_t count = std::min(kChunk, x.size() - begin);
      rng.fill_uniform(std::span(points).first(count));
      for (std::size_t i = 0; i < count; ++i) {
        points[i] = low + width * points[i];
        x[begin + i] = static_cast<T>(points[i]);
      }
      if (std::is_same_v<T, float> && largest_angle_ < kFastSinLimit) {
        for (std::size_t i = 0; i < count; ++i) {
          y[begin + i] =
              static_cast<T>(task.amplitude * reduced_sin(task.frequency * points[i] - task.phase));
        }
      } else {
        for (std::size_t i = 0; i < count; ++i) {
          y[begin + i] =
              static_cast<T>(task.amplitude * std::sin(task.frequency * points[i] - task.phase));
        }
      }
    }
  }

  SinusoidData data_;
  std::uint64_t seed_;
  double largest_angle_;
};

}  // namespace

double fast_sin(double x) { return reduced_sin(x); }

std::unique_ptr<TaskSource> make_sinusoid(const SinusoidData& data, const Config& config) {
  MIXFLOW_CHECK(config.inner.loss == Loss::mse && data.shots >= 1 && data.queries >= 1,
                "the loader lets no other loss or counts pass");
  return std::make_unique<Sinusoid>(data, config.seed);
}

}  // namespace mixflow
