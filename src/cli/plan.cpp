#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/cli.h"
#include "config/load.h"
#include "config/names.h"
#include "data/source.h"
#include "kernels/cpu.h"
#include "meta/experiment.h"
#include "train/baseline.h"
#include "train/progress.h"
#include "train/stage_run.h"

namespace mixflow {
namespace {

struct Options : CommonOptions {
  std::vector<std::string> configs;
  bool explain = false;
};

struct Row {
  std::string file, mode;
  ProgramPtr program;
  std::int64_t reverse_dynamic_bytes = 0, model_flop = 0, theta_size = 0;
  double plan_s = 0;
};

Row plan_one(const Options& o, const std::string& file) {
  CommonOptions common = o;
  common.config = file;
  const Config config = load(common);
  const PlanOptions options{.threads = config.threads > 0 ? config.threads : usable_cores()};
  const std::unique_ptr<TaskSource> source = make_source(config);
  const DType dtype = compute_type(config);
  Row row{.file = file, .mode = std::string(name_of(config.gradient.mode))};
  const auto start = std::chrono::steady_clock::now();
  const Experiment experiment = build_experiment(config, *source, dtype);
  row.program = compile(experiment.train.graph, donations_of(experiment.train), options);
  row.plan_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  row.model_flop = experiment.model_flop;
  row.theta_size = experiment.theta_size;
  row.reverse_dynamic_bytes =
      config.gradient.mode == Mode::reverse
          ? row.program->dynamic_bytes
          : planned_dynamic_bytes(config, Mode::reverse, *source, dtype, options);
  return row;
}

nlohmann::ordered_json to_json(const Row& row, double gflops, bool explain) {
  nlohmann::ordered_json json = {
      {"config", row.file},
      {"mode", row.mode},
      {"parameters", row.theta_size},
      {"static_bytes", row.program->static_bytes},
      {"dynamic_bytes", row.program->dynamic_bytes},
      {"reverse_dynamic_bytes", row.reverse_dynamic_bytes},
      {"flop", row.program->flop},
      {"model_flop", row.model_flop},
      {"predicted_s", static_cast<double>(row.program->flop) / (gflops * 1e9)},
      {"nodes", row.program->nodes},
      {"plan_s", row.plan_s},
  };
  auto& phases = json["phases"] = nlohmann::ordered_json::array();
  for (const Phase& phase : row.program->body->phases) {
    phases.push_back({{"phase", phase.name},
                      {"peak_bytes", phase.peak_bytes},
                      {"kept_bytes", phase.kept_bytes}});
  }
  if (!explain) return json;
  auto& peak = json["peak"] = nlohmann::ordered_json::array();
  for (const Live& live : row.program->body->peak) {
    peak.push_back({{"what", live.name},
                    {"bytes", live.bytes},
                    {"offset", live.offset},
                    {"made_by", live.made_by},
                    {"last_read_by", live.last_read_by}});
  }
  return json;
}

void print_phases(const Row& row) {
  std::printf("\nPhases of %s: alive at once while it runs, and kept for a later phase:\n",
              row.file.c_str());
  for (const Phase& phase : row.program->body->phases) {
    std::printf("  %10s %10s  %s\n", format_bytes(phase.peak_bytes).c_str(),
                format_bytes(phase.kept_bytes).c_str(),
                phase.name.empty() ? "(the rest)" : phase.name.c_str());
  }
}

void print_peak(const Row& row) {
  std::printf("\nAlive at the peak of %s (%s of workspace):\n", row.file.c_str(),
              format_bytes(row.program->workspace_bytes).c_str());
  for (const Live& live : row.program->body->peak) {
    std::printf("  %10s  %-60s made by %s, last read by %s\n", format_bytes(live.bytes).c_str(),
                live.name.c_str(), live.made_by.c_str(), live.last_read_by.c_str());
  }
}

int run(const Options& o) {
  std::vector<Row> rows;
  for (const std::string& file : o.configs) rows.push_back(plan_one(o, file));
  const double gflops = measure_matmul_gflops(o.threads > 0 ? o.threads : usable_cores());
  if (o.json) {
    nlohmann::ordered_json json = {{"matmul_gflops", gflops},
                                   {"plans", nlohmann::ordered_json::array()}};
    for (const Row& row : rows) json["plans"].push_back(to_json(row, gflops, o.explain));
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  std::printf("%-44s %-12s %10s %10s %10s %8s %10s %11s %7s\n", "config", "mode", "parameters",
              "static", "dynamic", "reverse", "GFLOP", "predicted", "nodes");
  for (const Row& row : rows) {
    const double flop = static_cast<double>(row.program->flop);
    std::printf("%-44s %-12s %10lld %10s %10s %7.2fx %10.4g %11s %7lld\n", row.file.c_str(),
                row.mode.c_str(), static_cast<long long>(row.theta_size),
                format_bytes(row.program->static_bytes).c_str(),
                format_bytes(row.program->dynamic_bytes).c_str(),
                static_cast<double>(row.reverse_dynamic_bytes) /
                    static_cast<double>(row.program->dynamic_bytes),
                flop * 1e-9, format_seconds(flop / (gflops * 1e9)).c_str(),
                static_cast<long long>(row.program->nodes));
  }
  std::printf(
      "static: meta-parameters, their optimiser's state, theta_0 and data; dynamic: the peak of "
      "everything else in one "
      "meta-step;\nreverse: the reverse baseline's dynamic bytes over these; predicted: FLOPs at "
      "the measured matmul "
      "peak of %.0f GFLOP/s\n",
      gflops);
  if (o.explain) {
    for (const Row& row : rows) {
      print_phases(row);
      print_peak(row);
    }
  }
  return 0;
}

}  // namespace

void add_plan(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "plan", "Memory, FLOPs and predicted time of one meta-step; nothing is run");
  command->add_option("CONFIG", o->configs, "YAML files")->required();
  command->add_option("-s,--set", o->overrides, "Override a key of the configs: key.path=value")
      ->allow_extra_args(false)
      ->take_all();
  command->add_option("--threads", o->threads, "Number of threads (0: all cores)")
      ->check(CLI::Range(0, kMostThreads));
  command->add_flag("--explain", o->explain,
                    "List what is alive at the peak, who made it and who reads it last");
  command->add_flag("--json", o->json, "One machine-readable object on stdout");
  command->footer(
      "Examples:\n"
      "  mixflow plan configs/quickstart.yaml --explain\n"
      "  mixflow plan configs/*.yaml -s gradient.mode=reverse --json");
  command->callback([o, &exit_code] { exit_code = run(*o); });
}

}  // namespace mixflow
