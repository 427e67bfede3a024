// Runs grouped by config keys, and what is said of each group.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "report/run_set.h"
#include "report/stats.h"
#include "report/values.h"

namespace mixflow {

struct Selection {
  std::vector<std::string> rows, cols;  // config keys
  std::vector<ValueColumn> values;
  Agg agg = Agg::mean;
  std::vector<std::pair<std::string, std::string>> baseline;  // key=value; keys of rows or cols
};

struct PivotCell {
  std::vector<std::size_t> runs;
  std::size_t count = 0;        // runs that have the value
  std::optional<double> value;  // aggregated
  // 95 %, over seeds: only of a mean, and only where all runs of the cell have one configuration.
  std::optional<double> ci95;
  std::optional<double> ratio;  // to the cell that differs in the baseline's keys alone
  bool is_baseline = false;     // it has the baseline's values itself
};

struct Pivot {
  std::vector<std::string> row_keys, col_keys, values;
  Agg agg = Agg::mean;
  bool has_baseline = false;
  std::vector<std::vector<std::string>> row_labels, col_labels;  // one text per key
  std::vector<std::size_t> row_runs;                             // runs in each row
  std::vector<std::vector<std::vector<PivotCell>>> cells;        // [value][row][col]
  std::size_t pooled_cells = 0;                                  // that hold several configurations
};

// Rows and columns come in the order of the keys' values. UserError for keys that no config has,
// for a baseline that matches nothing, and for more cells than anyone reads.
Pivot pivot(const RunSet& runs, const Selection& selection);

// {"gradient.mode=reverse"} in parts. UserError for what has no '='.
std::vector<std::pair<std::string, std::string>> parse_baseline(
    const std::vector<std::string>& texts);

}  // namespace mixflow
