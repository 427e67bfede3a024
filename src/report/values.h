// The numbers that a report can show of each run, by name: of its summary, of its curves
// (meta_loss.min, validation.loss_after_5.last, ..), of its plan (plan.flop, ..), and keys of its
// config.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/run_set.h"

namespace mixflow {

struct ValueColumn {
  std::string name;
  std::vector<std::optional<double>> of_run;
};

// A name is looked up among the numbers of summaries and rows, then of plans, curves (alone: the
// last value) and config keys. Curves are read, and one run of each configuration is planned, only
// for names that need it. UserError, naming the nearest, for a name that no run knows.
ValueColumn value_column(const RunSet& runs, const std::string& name);

// What a report shows unless it is told: held-out loss and accuracy after the most inner steps,
// meta-loss, time and memory, as far as some run has them.
std::vector<std::string> default_values(const RunSet& runs);

}  // namespace mixflow
