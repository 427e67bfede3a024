// Whether this machine has the memory that a plan needs, asked before any of it is touched: beyond
// it the system kills the process without a word.
#pragma once

#include <cstdint>
#include <string>

#include "config/config.h"
#include "meta/experiment.h"
#include "train/stage_run.h"

namespace mixflow {

// A process takes this much beside what is planned: code, libraries, graphs.
inline constexpr std::int64_t kAllowanceBytes = std::int64_t{64} << 20;

struct MemoryNeed {
  std::int64_t static_bytes = 0, dynamic_bytes = 0;  // as planned
  std::int64_t bytes() const { return static_bytes + dynamic_bytes + kAllowanceBytes; }
};
// Of the inputs that take a meta-step's data.
std::int64_t data_input_bytes(const Stage& stage);

// What is planned, what there is, and the keys of this config that lower it; "" where it fits.
std::string memory_shortage(const Config& config, const MemoryNeed& need, std::int64_t usable);

// UserError where this process may not use so much.
void require_memory(const Config& config, const MemoryNeed& need);

// The stage's plan, if memory suffices for it; else UserError.
ProgramPtr fitting(const Stage& stage, const PlanOptions& options, const Config& config);

}  // namespace mixflow
