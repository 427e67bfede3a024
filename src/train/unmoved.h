// Which meta-parameters the first meta-steps have left where they were: their meta-gradient was
// zero by value, as that of weights behind a dead unit is. What is zero by construction is refused
// when graphs are built (meta/detached.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/stage_run.h"

namespace mixflow {

class Unmoved {
 public:
  // Remembers the eta that `run` holds.
  Unmoved(const std::vector<Port>& eta, const StageRun& run);

  // A line for the log, after `steps` meta-steps; "" where every tensor has moved.
  std::string text(const StageRun& run, std::int64_t steps) const;

 private:
  std::vector<std::string> names_;
  std::vector<std::uint64_t> hashes_;  // of the bytes
};

}  // namespace mixflow
