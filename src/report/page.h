// The HTML report: one file that needs nothing else.
#pragma once

#include <string>
#include <vector>

#include "report/report.h"

namespace mixflow {

// Tables, and plots drawn by gnuplot; where that is missing or fails, a notice in their place and a
// warning.
std::string html_page(const ReportData& data, const ReportOptions& options,
                      std::vector<std::string>& warnings);

}  // namespace mixflow
