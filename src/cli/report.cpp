#include "report/report.h"

#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "cli/cli.h"
#include "util/error.h"
#include "util/file.h"
#include "util/text.h"

namespace mixflow {
namespace {

struct Options {
  ReportOptions report;
  std::string format, agg = "mean", out;
  bool json = false;
};

// The format asked for, or that of the output file's name.
ReportFormat format_of(const Options& o) {
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

int run(Options& o) {
  o.report.format = format_of(o);
  o.report.agg = static_cast<Agg>(std::ranges::find(kAggNames, o.agg) - std::begin(kAggNames));
  const Report report = make_report(o.report);
  for (const std::string& warning : report.warnings) spdlog::warn("{}", warning);
  if (o.out.empty()) {
    std::fwrite(report.text.data(), 1, report.text.size(), stdout);
  } else {
    write_atomically(o.out, report.text);
  }
  return 0;
}

template <class Names>
CLI::IsMember one_of(const Names& names) {
  return CLI::IsMember(std::vector<std::string>(std::begin(names), std::end(names)));
}

}  // namespace

void add_report(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "report", "Tables and plots of runs, sweeps and bench results, pivoted by config keys");
  command
      ->add_option("DIR", o->report.paths,
                   "Run directories, directories that hold some at any depth, or .json files from "
                   "bench --json and plan --json")
      ->required();
  command->add_option("--format", o->format, "md, csv, tex (booktabs) or html (default: md)")
      ->check(one_of(kFormatNames));
  const auto list = [&](const char* name, std::vector<std::string>& values, const char* what) {
    return command->add_option(name, values, what)->allow_extra_args(false)->take_all();
  };
  list("--rows", o->report.rows,
       "Config keys whose values make the rows (default: those that differ)")
      ->delimiter(',');
  list("--cols", o->report.cols, "Config keys whose values make the columns")->delimiter(',');
  list("--value", o->report.values,
       "Numbers to show: of the summary (step_s, dynamic_bytes), of curves (meta_loss.min, "
       "validation.loss_after_5), of the plan (plan.flop), or a config key")
      ->delimiter(',');
  command->add_option("--agg", o->agg, "What is said of several runs; mean comes with its interval")
      ->check(one_of(kAggNames))
      ->capture_default_str();
  list("--baseline", o->report.baseline,
       "Also ratios to the cells with this value: key=value; several narrow it down");
  list("--x", o->report.x, "Config keys that plots of the values run along (html)")->delimiter(',');
  command->add_flag("--all", o->report.all,
                    "Also count runs that have not finished, as far as they have got");
  command->add_option("--out", o->out, "Write to this file; its name may tell the format");
  command->add_flag("--json", o->json, "One machine-readable object on stdout");
  command->footer(
      "Examples:\n"
      "  mixflow report runs\n"
      "  mixflow report runs --rows gradient.mode --cols inner.steps --value dynamic_bytes --agg "
      "median\n"
      "  mixflow report runs --baseline gradient.mode=reverse --out report.html");
  command->callback([o, &exit_code] { exit_code = run(*o); });
}

}  // namespace mixflow
