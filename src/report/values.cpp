#include "report/values.h"

#include <algorithm>
#include <mutex>
#include <set>

#include "config/load.h"
#include "kernels/cpu.h"
#include "report/series.h"
#include "train/planned.h"
#include "util/error.h"
#include "util/parallel.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::string_view kPlan = "plan.";
constexpr std::string_view kPlanNames[] = {"static_bytes", "dynamic_bytes", "workspace_bytes",
                                           "flop",         "model_flop",    "predicted_s",
                                           "parameters",   "nodes",         "plan_s"};

double plan_number(const PlannedStep& plan, std::string_view name) {
  if (name == "static_bytes") return static_cast<double>(plan.static_bytes);
  if (name == "dynamic_bytes") return static_cast<double>(plan.dynamic_bytes);
  if (name == "workspace_bytes") return static_cast<double>(plan.workspace_bytes);
  if (name == "flop") return static_cast<double>(plan.flop);
  if (name == "model_flop") return static_cast<double>(plan.model_flop);
  if (name == "parameters") return static_cast<double>(plan.theta_size);
  if (name == "nodes") return static_cast<double>(plan.nodes);
  if (name == "plan_s") return plan.plan_s;
  return predicted_seconds(plan);
}

// Rows of bench and plan are not planned again: they have these numbers under their own names.
std::vector<std::optional<double>> plan_column(const RunSet& runs, const std::string& name) {
  const std::string what = name.substr(kPlan.size());
  std::vector<std::size_t> first(runs.num_configurations(), runs.size());
  for (std::size_t run = runs.size(); run-- > 0;) {
    first[static_cast<std::size_t>(runs.configuration(run))] = run;
  }
  std::vector<std::optional<double>> planned(first.size());
  std::mutex mutex;
  // Predicting measures the matmul peak, which nothing else may disturb.
  parallel_for(first.size(), what == "predicted_s" ? 1 : usable_cores(), [&](std::size_t c) {
    const RunRecord& run = runs.run(first[c]);
    if (run.directory.empty()) {
      planned[c] = run.value(what);
      return;
    }
    const Config config = load_config((run.directory / "config.yaml").string());
    const double number = plan_number(plan_meta_step(config, *make_schema(config)), what);
    const std::lock_guard lock(mutex);
    planned[c] = number;
  });
  std::vector<std::optional<double>> column;
  for (std::size_t run = 0; run < runs.size(); ++run) {
    column.push_back(planned[static_cast<std::size_t>(runs.configuration(run))]);
  }
  return column;
}

// meta_loss.min -> (meta_loss, min); a name without a statistic means the last value.
std::pair<std::string, std::string> split_stat(const std::string& name) {
  const std::size_t dot = name.rfind('.');
  if (dot != std::string::npos) {
    const std::string stat = name.substr(dot + 1);
    if (std::ranges::find(kSeriesStats, stat) != std::end(kSeriesStats)) {
      return {name.substr(0, dot), stat};
    }
  }
  return {name, "last"};
}

// Fills in what the column lacks.
void add_series(const RunSet& runs, const std::string& name,
                std::vector<std::optional<double>>& column) {
  const auto [series, stat] = split_stat(name);
  parallel_for(runs.size(), usable_cores(), [&, series = series, stat = stat](std::size_t run) {
    const std::filesystem::path& directory = runs.run(run).directory;
    if (column[run] || directory.empty()) return;
    const auto found = read_series(directory, {series});
    if (const auto one = found.find(series); one != found.end()) {
      column[run] = stat_of(one->second, stat);
    }
  });
}

bool any(const std::vector<std::optional<double>>& column) {
  return std::ranges::any_of(column, [](const auto& value) { return value.has_value(); });
}

std::vector<std::optional<double>> record_column(const RunSet& runs, const std::string& name) {
  std::vector<std::optional<double>> column;
  for (std::size_t run = 0; run < runs.size(); ++run) column.push_back(runs.run(run).value(name));
  return column;
}

std::vector<std::optional<double>> key_column(const KeyColumn& key) {
  std::vector<std::optional<double>> column;
  for (const int index : key.index) {
    column.push_back(number_of(key.texts[static_cast<std::size_t>(index)]));
  }
  return column;
}

// Distinct names of the numbers in all records, in the order in which they are met.
std::vector<std::string> record_names(const RunSet& runs) {
  std::vector<std::string> names;
  std::set<std::string> known;
  for (std::size_t run = 0; run < runs.size(); ++run) {
    for (const auto& [name, number] : runs.run(run).values) {
      if (known.insert(name).second) names.push_back(name);
    }
  }
  return names;
}

[[noreturn]] void fail_unknown(const RunSet& runs, const std::string& name) {
  std::vector<std::string> names = record_names(runs);
  for (const KeyColumn& key : runs.keys()) {
    if (any(key_column(key))) names.push_back(key.name);
  }
  for (std::size_t run = 0; run < runs.size(); ++run) {
    if (runs.run(run).directory.empty()) continue;
    for (const std::string& series : series_names(runs.run(run).directory)) {
      names.push_back(series);
      for (const std::string_view stat : kSeriesStats) {
        names.push_back(series + "." + std::string(stat));
      }
    }
    break;
  }
  for (const std::string_view plan : kPlanNames)
    names.push_back(std::string(kPlan) + std::string(plan));
  const std::string near = nearest_names(name, names);
  throw UserError("report: --value " + name + ": no run has a number of that name" +
                  (near.empty() ? "; expected one of summary.json (step_s), of metrics.jsonl "
                                  "(meta_loss.min), of the plan (plan.flop) or of the config"
                                : "; did you mean " + near + "?"));
}

bool in_all(const RunSet& runs, const std::string& name) {
  for (std::size_t run = 0; run < runs.size(); ++run) {
    if (!runs.run(run).value(name)) return false;
  }
  return true;
}

}  // namespace

ValueColumn value_column(const RunSet& runs, const std::string& name) {
  ValueColumn column{.name = name, .of_run = record_column(runs, name)};
  if (any(column.of_run)) {
    add_series(runs, name, column.of_run);  // of runs whose summary lacks it
    return column;
  }
  const bool plan =
      name.starts_with(kPlan) &&
      std::ranges::find(kPlanNames, name.substr(kPlan.size())) != std::end(kPlanNames);
  if (plan) {
    column.of_run = plan_column(runs, name);
    return column;
  }
  if (const KeyColumn* key = runs.find_key(name)) {
    column.of_run = key_column(*key);
    if (any(column.of_run)) return column;
    throw UserError("report: --value " + name + ": the config key holds no numbers, but " +
                    in_quotes(key->texts.front()) + "; use it with --rows or --cols");
  }
  add_series(runs, name, column.of_run);
  if (!any(column.of_run)) fail_unknown(runs, name);
  return column;
}

std::vector<std::string> default_values(const RunSet& runs) {
  const std::vector<std::string> names = record_names(runs);
  std::vector<std::string> chosen;
  // Of eval_after.loss_after_0, _1, _5 the last one.
  for (const char* start : {"eval_after.loss_after_", "eval_after.accuracy_after_"}) {
    std::string most;
    double most_steps = -1;
    for (const std::string& name : names) {
      if (!name.starts_with(start)) continue;
      const std::optional<double> steps = number_of(name.substr(std::string_view(start).size()));
      if (!steps || *steps <= most_steps) continue;
      most = name;
      most_steps = *steps;
    }
    if (most.empty()) continue;
    // Where runs differ in their inner steps, each has its own last one.
    const std::string own = std::string(start) + "T";
    chosen.push_back(in_all(runs, most) || !in_all(runs, own) ? most : own);
  }
  for (const char* name : {"meta_loss_last", "step_s", "predicted_s", "static_bytes",
                           "dynamic_bytes", "peak_rss_bytes", "rss_bytes", "mfu"}) {
    if (std::ranges::find(names, name) != names.end()) chosen.emplace_back(name);
  }
  if (chosen.empty()) chosen = names;
  return chosen;
}

}  // namespace mixflow
