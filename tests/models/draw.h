// Numbers for tests: a fixed pseudo-random sequence, and one-output graphs evaluated in f64.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/builder.h"
#include "ops/reference.h"

namespace mixflow {

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_(seed * 2654435761u + 1) {}
  double uniform(double low, double high) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * static_cast<double>(state_ >> 11) / 9007199254740992.0;
  }
  Tensor64 tensor(std::int64_t n, double low = -1, double high = 1) {
    Tensor64 values(static_cast<std::size_t>(n));
    for (double& x : values) x = uniform(low, high);
    return values;
  }
  Tensor64 labels(std::int64_t n, int classes) {
    Tensor64 values(static_cast<std::size_t>(n));
    for (double& x : values) x = static_cast<int>(uniform(0, classes));
    return values;
  }

 private:
  std::uint64_t state_;
};

inline Tensor64 run(Builder& b, Id output, const std::vector<Tensor64>& inputs) {
  return evaluate(*b.finish({output}), inputs)[0];
}

}  // namespace mixflow
