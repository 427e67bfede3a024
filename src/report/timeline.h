// The planned memory of one meta-step as it goes on, phase by phase.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"
#include "plan/program.h"
#include "report/plot.h"
#include "report/run_set.h"
#include "report/table.h"

namespace mixflow {

// What is alive while a share of a meta-step's FLOPs is computed.
struct TimelineSpan {
  double flop = 0;
  std::int64_t alive_bytes = 0;
  std::string phase;  // as `plan --explain` names it
};

// In the order of the plan, loops unrolled, of tasks that are computed one after the other (or
// chunk after chunk) one; long stretches of one phase keep their lowest and their highest point.
// Results that no input gives memory to count all the time. The highest span is at most the plan's
// dynamic bytes, and less where the arena has gaps.
std::vector<TimelineSpan> timeline_of(const Program& program);

// Of one run of each gradient.mode, planned again from its config. Runs that cannot be planned here
// (their data are not there any more, for one) have a notice instead.
struct Timelines {
  std::vector<Plot> plots;
  ReportTable phases;
  std::vector<std::string> notices;
};
Timelines timelines(const RunSet& runs);

}  // namespace mixflow
