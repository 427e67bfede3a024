#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "cli/commands.h"
#include "kernels/cpu.h"
#include "train/baseline.h"
#include "train/idle_plan.h"
#include "train/memory_check.h"
#include "train/planned.h"
#include "train/progress.h"
#include "util/memory.h"
#include "util/parallel.h"
#include "util/table.h"
#include "util/text.h"

namespace mixflow {
namespace {

struct Row {
  std::string file;
  KeyValues settings;
  PlannedStep plan;
  std::string shortage;  // of memory; "" where it suffices
  std::int64_t reverse_dynamic_bytes = 0;
  std::vector<std::string> idle;  // warnings: settings without effect on this plan

  std::string name() const {
    return visible_line(settings.empty() ? file : file + " " + to_text(settings));
  }
};

Row plan_one(const std::string& file, const Combination& combination, bool explain) {
  const Config& config = combination.config;
  const std::unique_ptr<DataSchema> source = make_schema(config);
  Row row{.file = file, .settings = combination.settings, .plan = plan_meta_step(config, *source)};
  for (const IdleSetting& setting : idle_in_plan(config, *source, row.plan.threads)) {
    row.idle.push_back(idle_text(config, setting));
  }
  if (!explain) row.plan.peak.clear();
  row.shortage = memory_shortage(config, {row.plan.static_bytes, row.plan.dynamic_bytes},
                                 usable_memory_bytes());
  row.reverse_dynamic_bytes =
      config.gradient.mode == Mode::reverse
          ? row.plan.dynamic_bytes
          : planned_dynamic_bytes(config, Mode::reverse, *source, compute_type(config),
                                  plan_options(config, row.plan.threads));
  return row;
}

std::vector<Row> plan_all(const PlanCommand& o) {
  std::vector<std::pair<std::string, Combination>> tasks;  // with their files
  for (const std::string& file : o.configs) {
    CommonOptions common = o;
    common.config = file;
    for (Combination& combination : load_all(common, o.over)) {
      tasks.emplace_back(file, std::move(combination));
    }
  }
  std::vector<Row> rows(tasks.size());
  parallel_for(tasks.size(), usable_cores(), [&](std::size_t i) {
    const auto& task = tasks[i];
    rows[i] = in_combination(task.second.settings,
                             [&] { return plan_one(task.first, task.second, o.explain); });
  });
  return rows;
}

nlohmann::ordered_json to_json(const Row& row, bool explain) {
  nlohmann::ordered_json settings = nlohmann::ordered_json::object();
  for (const auto& [key, value] : row.settings) settings[key] = value;
  nlohmann::ordered_json json = {
      {"config", row.file},
      {"settings", settings},
      {"mode", row.plan.mode},
      {"threads", row.plan.threads},
      {"parameters", row.plan.theta_size},
      {"static_bytes", row.plan.static_bytes},
      {"dynamic_bytes", row.plan.dynamic_bytes},
      {"reverse_dynamic_bytes", row.reverse_dynamic_bytes},
      {"fits_memory", row.shortage.empty()},
      {"flop", row.plan.flop},
      {"model_flop", row.plan.model_flop},
      {"predicted_s", predicted_seconds(row.plan)},
      {"nodes", row.plan.nodes},
      {"plan_s", row.plan.plan_s},
  };
  auto& phases = json["phases"] = nlohmann::ordered_json::array();
  for (const Phase& phase : row.plan.phases) {
    phases.push_back({{"phase", phase.name},
                      {"peak_bytes", phase.peak_bytes},
                      {"kept_bytes", phase.kept_bytes}});
  }
  if (!explain) return json;
  auto& peak = json["peak"] = nlohmann::ordered_json::array();
  for (const Live& live : row.plan.peak) {
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
              row.name().c_str());
  for (const Phase& phase : row.plan.phases) {
    std::printf("  %10s %10s  %s\n", format_bytes(phase.peak_bytes).c_str(),
                format_bytes(phase.kept_bytes).c_str(),
                phase.name.empty() ? "(the rest)" : phase.name.c_str());
  }
}

void print_peak(const Row& row) {
  std::printf("\nAlive at the peak of %s (%s of workspace):\n", row.name().c_str(),
              format_bytes(row.plan.workspace_bytes).c_str());
  for (const Live& live : row.plan.peak) {
    std::printf("  %10s  %-60s made by %s, last read by %s\n", format_bytes(live.bytes).c_str(),
                live.name.c_str(), live.made_by.c_str(), live.last_read_by.c_str());
  }
}

std::string table_of(const std::vector<Row>& rows) {
  std::vector<std::vector<std::string>> table(1, {"config"});
  for (const auto& [key, value] : rows.front().settings) table[0].push_back(key);
  const std::size_t left = table[0].size() + 1;
  for (const char* name :
       {"mode", "parameters", "static", "dynamic", "reverse", "GFLOP", "predicted", "nodes"}) {
    table[0].emplace_back(name);
  }
  for (const Row& row : rows) {
    const PlannedStep& plan = row.plan;
    std::vector<std::string> cells = {row.file};
    for (const auto& [key, value] : row.settings) cells.push_back(value);
    cells.insert(cells.end(),
                 {plan.mode, std::to_string(plan.theta_size), format_bytes(plan.static_bytes),
                  format_bytes(plan.dynamic_bytes),
                  formatted("%.2fx", static_cast<double>(row.reverse_dynamic_bytes) /
                                         static_cast<double>(plan.dynamic_bytes)),
                  formatted("%.4g", static_cast<double>(plan.flop) * 1e-9),
                  format_seconds(predicted_seconds(plan)), std::to_string(plan.nodes)});
    table.push_back(std::move(cells));
  }
  return aligned_table(table, left);
}

}  // namespace

int run(const PlanCommand& o) {
  const std::vector<Row> rows = plan_all(o);
  std::set<std::string> told;
  for (const Row& row : rows) {
    for (const std::string& warning : row.idle) {
      if (told.insert(warning).second) spdlog::warn("{}", warning);
    }
  }
  int threads = 1;
  for (const Row& row : rows) threads = std::max(threads, row.plan.threads);
  const double gflops = matmul_peak(threads, rows.front().plan.bf16);
  if (o.json) {
    nlohmann::ordered_json json = {{"matmul_gflops", gflops},
                                   {"usable_memory_bytes", usable_memory_bytes()},
                                   {"plans", nlohmann::ordered_json::array()}};
    for (const Row& row : rows) json["plans"].push_back(to_json(row, o.explain));
    std::printf("%s\n", json.dump(2).c_str());
    return 0;
  }
  std::printf(
      "%sstatic: meta-parameters, their optimiser's state, theta_0 and data; dynamic: the peak of "
      "everything else in one meta-step;\nreverse: the reverse baseline's dynamic bytes over "
      "these; predicted: FLOPs at the measured matmul peak (%.0f GFLOP/s on %d thread%s)\n",
      table_of(rows).c_str(), gflops, threads, threads == 1 ? "" : "s");
  for (const Row& row : rows) {
    if (!row.shortage.empty()) std::printf("%s %s\n", row.name().c_str(), row.shortage.c_str());
  }
  if (o.explain) {
    for (const Row& row : rows) {
      print_phases(row);
      print_peak(row);
    }
  }
  return 0;
}

}  // namespace mixflow
