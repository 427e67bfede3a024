// Which plots a report has, made from runs.
#pragma once

#include <string>
#include <vector>

#include "report/plot.h"
#include "report/report.h"

namespace mixflow {

// Meta-loss, and held-out loss where it was evaluated along the way, by meta-step: means over the
// seeds of a configuration, of up to eight configurations, for up to four with their 95 %
// intervals.
std::vector<Plot> curve_plots(const RunSet& runs);

// The values that were asked for (else time and memory) along each axis: medians over everything
// else, one line for each value of one other key.
std::vector<Plot> axis_plots(const ReportData& data, const ReportOptions& options);

// The ratios to the baseline (else to gradient.mode=reverse, or of dynamic memory to that planned
// for mode reverse) of all configurations, from the least to the largest.
std::vector<Plot> ratio_plots(const ReportData& data, const ReportOptions& options);

}  // namespace mixflow
