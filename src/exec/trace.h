// Who ran when: one span for each instruction of a traced run.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "plan/body.h"

namespace mixflow {

class Trace {
 public:
  struct Span {
    const Body* body = nullptr;
    std::uint32_t instr = 0;  // in body->instrs
    std::uint32_t depth = 0;  // of loops around it
    std::int64_t begin_ns = 0, end_ns = 0;
  };

  explicit Trace(int threads) : spans_(static_cast<std::size_t>(threads)) {}

  static std::int64_t now_ns() {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  }
  // Thread t's spans, a loop's after those of its iterations. Each thread adds its own.
  void add(std::size_t thread, const Span& span) { spans_[thread].push_back(span); }
  std::span<const Span> spans(std::size_t thread) const { return spans_[thread]; }
  std::size_t threads() const { return spans_.size(); }

 private:
  std::vector<std::vector<Span>> spans_;
};

}  // namespace mixflow
