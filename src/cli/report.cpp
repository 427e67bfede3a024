#include "report/report.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "cli/commands.h"
#include "util/error.h"
#include "util/file.h"
#include "util/text.h"

namespace mixflow {
namespace {

// The format asked for, or that of the output file's name.
ReportFormat format_of(const ReportCommand& o) {
  if (o.json) return ReportFormat::json;
  std::string name = o.format;
  if (name.empty() && !o.out.empty()) {
    name = std::filesystem::path(o.out).extension().string();
    name.erase(0, 1);
    if (name == "htm") name = "html";
    if (std::ranges::find(kFormatNames, name) == std::end(kFormatNames)) {
      throw UserError(
          "report: --out " + o.out +
          ": expected a name that ends in .md, .csv, .tex, .html or .json, or --format");
    }
  }
  if (name.empty()) name = "md";
  const auto found = std::ranges::find(kFormatNames, name);
  return static_cast<ReportFormat>(found - std::begin(kFormatNames));
}

}  // namespace

int run(const ReportCommand& o) {
  ReportOptions options = o.report;
  options.format = format_of(o);
  options.agg = static_cast<Agg>(std::ranges::find(kAggNames, o.agg) - std::begin(kAggNames));
  const Report report = make_report(options);
  for (const std::string& warning : report.warnings) spdlog::warn("{}", warning);
  if (o.out.empty()) {
    const std::string text = visible(report.text);
    std::fwrite(text.data(), 1, text.size(), stdout);
  } else {
    write_atomically(o.out, report.text);
  }
  return 0;
}

}  // namespace mixflow
