// `mixflow report`: tables and plots of what runs, sweeps and bench left.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "report/run_set.h"
#include "report/stats.h"
#include "report/table.h"

namespace mixflow {

enum class ReportFormat : std::uint8_t { md, csv, tex, html, json };
inline constexpr std::string_view kFormatNames[] = {"md", "csv", "tex", "html", "json"};

struct ReportOptions {
  std::vector<std::string> paths;
  ReportFormat format = ReportFormat::md;
  std::vector<std::string> rows, cols;  // config keys; neither: the axes
  std::vector<std::string> values;      // none: default_values
  Agg agg = Agg::mean;
  std::vector<std::string> baseline;  // key=value
  std::vector<std::string> x;         // config keys that plots run along; none: chosen
  bool all = false;                   // count runs that have not finished, as far as they have got
};

// What was found, and what is made of it.
struct ReportData {
  RunSet runs;                      // those that count
  std::vector<RunRecord> left_out;  // the others
  std::vector<ValueColumn> values;
  Pivot pivot;
  std::vector<ReportTable> tables;
};

struct Report {
  std::string text;
  std::vector<std::string> warnings;  // for stderr
};

// UserError for paths without results, unknown keys and values, and where no run counts.
Report make_report(const ReportOptions& options);

// "24 runs: 22 finished, 1 interrupted, 1 failed; 8 configurations, 3 seeds".
std::string count_text(const ReportData& data);

}  // namespace mixflow
