#include "train/bench.h"

#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/cli.h"
#include "util/file.h"
#include "util/memory.h"

namespace mixflow {
namespace {

struct Options : CommonOptions {
  std::vector<std::string> over;
  BenchOptions bench;
  std::string memory_limit = "80%";
  std::string csv;
  bool quiet = false;
};

int run(Options& o) {
  o.bench.memory_limit_bytes =
      parse_memory(o.memory_limit, usable_memory_bytes(), "bench: --memory-limit");
  const std::vector<Combination> combinations = load_all(o, o.over);
  // Before anything is measured: a path that cannot be written is an error now, not at the end.
  if (!o.csv.empty()) write_atomically(o.csv, std::string_view());
  if (!o.quiet) {
    o.bench.progress = [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); };
  }
  const BenchReport report = bench(combinations, o.bench);
  for (const std::string& warning : report.warnings) spdlog::warn("{}", warning);
  if (!o.csv.empty()) write_atomically(o.csv, to_csv(report));
  std::printf("%s%s", o.json ? to_json(report).c_str() : to_text(report).c_str(),
              o.json ? "\n" : "");
  return report.interrupted ? 130 : 0;
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "bench", "Time and memory of one meta-step for every combination of some settings");
  add_common(*command, *o);
  add_over(*command, o->over);
  command->add_option("--reps", o->bench.reps, "Repetitions of each combination")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--warmup", o->bench.warmup, "At least so many meta-steps of each before")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command
      ->add_option("--memory-limit", o->memory_limit,
                   "What needs more is planned only; a share is of RAM, or of the control group's "
                   "limit where that is lower")
      ->capture_default_str();
  command->add_option("--csv", o->csv, "Also write one line per repetition to this file");
  command->add_flag("--profile", o->bench.profile,
                    "One more meta-step of each: time and GFLOP/s by op and by node");
  command->add_flag("--quiet", o->quiet, "No progress");
  command->footer(
      "Examples:\n"
      "  mixflow bench configs/quickstart.yaml --over inner.steps=2,4,8 --over "
      "gradient.mode=reverse,mixed\n"
      "  mixflow bench configs/quickstart.yaml --over 'gradient.remat={step: true},{step: false}' "
      "--json");
  command->callback([o, &exit_code] { exit_code = run(*o); });
}

}  // namespace mixflow
