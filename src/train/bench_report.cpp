// What `bench` prints: JSON, a table, CSV.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "train/bench.h"
#include "train/progress.h"
#include "util/table.h"
#include "util/text.h"

namespace mixflow {
namespace {

using Json = nlohmann::ordered_json;

// Factors over the first row; null where one of the two was not measured.
Json time_ratio(const BenchRow& row, const BenchRow& first) {
  if (!row.measured || !first.measured) return nullptr;
  return row.median_s() / first.median_s();
}

double memory_ratio(const BenchRow& row, const BenchRow& first) {
  return static_cast<double>(row.plan.dynamic_bytes) /
         static_cast<double>(first.plan.dynamic_bytes);
}

Json profile_json(const Profile& profile) {
  const auto lines = [](const std::vector<ProfileLine>& of) {
    Json list = Json::array();
    for (const ProfileLine& line : of) {
      list.push_back({{"what", line.what},
                      {"calls", line.calls},
                      {"seconds", line.seconds},
                      {"share", line.share},
                      {"flop", line.flop},
                      {"gflops_per_thread", line.gflops()}});
    }
    return list;
  };
  return {{"seconds", profile.seconds},
          {"threads", profile.threads},
          {"ops", lines(profile.kinds)},
          {"nodes", lines(profile.nodes)}};
}

std::string profiles_text(const BenchReport& report) {
  std::string text;
  for (const BenchRow& row : report.rows) {
    if (!row.profile) continue;
    const std::string settings = to_text(row.settings);
    text += "\n" + (settings.empty() ? "" : settings + ": ") +
            to_text(*row.profile, matmul_peak(row.plan.threads, row.plan.bf16));
  }
  return text;
}

Json row_json(const BenchRow& row, const BenchRow& first) {
  Json settings = Json::object();
  for (const auto& [key, value] : row.settings) settings[key] = value;
  Json json = {{"settings", settings},
               {"mode", row.plan.mode},
               {"threads", row.plan.threads},
               {"parameters", row.plan.theta_size},
               {"static_bytes", row.plan.static_bytes},
               {"dynamic_bytes", row.plan.dynamic_bytes},
               {"flop", row.plan.flop},
               {"model_flop", row.plan.model_flop},
               {"nodes", row.plan.nodes},
               {"predicted_s", predicted_seconds(row.plan)},
               {"measured", row.measured},
               {"reason", row.reason.empty() ? Json(nullptr) : Json(row.reason)}};
  const auto if_measured = [&](auto value) { return row.measured ? Json(value()) : Json(nullptr); };
  json["step_s"] = if_measured([&] {
    const auto [min, max] = std::ranges::minmax(row.step_s);
    return Json{{"median", row.median_s()}, {"min", min}, {"max", max}, {"all", row.step_s}};
  });
  json["steps_per_rep"] = if_measured([&] { return row.steps_per_rep; });
  json["arena_peak_bytes"] = if_measured([&] { return row.arena_peak_bytes; });
  json["rss_bytes"] = if_measured([&] { return row.rss_bytes; });
  json["gflops"] = if_measured([&] { return row.gflops(); });
  const std::optional<double> mfu = row.mfu();
  json["mfu"] = mfu ? Json(*mfu) : Json(nullptr);
  json["time_ratio"] = time_ratio(row, first);
  json["memory_ratio"] = memory_ratio(row, first);
  if (row.profile) json["profile"] = profile_json(*row.profile);
  return json;
}

std::vector<std::string> header(const BenchReport& report) {
  std::vector<std::string> cells;
  for (const auto& [key, value] : report.rows.front().settings) cells.push_back(key);
  for (const char* name : {"median", "min", "max", "time", "GFLOP/s", "MFU", "predicted", "static",
                           "dynamic", "memory", "measured", "RSS"}) {
    cells.emplace_back(name);
  }
  return cells;
}

std::vector<std::string> cells_of(const BenchRow& row, const BenchRow& first) {
  std::vector<std::string> cells;
  for (const auto& [key, value] : row.settings) cells.push_back(value);
  const auto add = [&](bool known, const std::string& cell) {
    cells.push_back(known ? cell : "-");
  };
  const auto [min, max] =
      row.measured ? std::ranges::minmax(row.step_s) : std::ranges::min_max_result<double>{0, 0};
  const Json ratio = time_ratio(row, first);
  add(row.measured, format_seconds(row.median_s()));
  add(row.measured, format_seconds(min));
  add(row.measured, format_seconds(max));
  add(!ratio.is_null(), ratio.is_null() ? "" : formatted("%.2fx", ratio.get<double>()));
  add(row.measured, formatted(row.gflops() < 100 ? "%.3g" : "%.0f", row.gflops()));
  const bool has_mfu = row.measured && row.has_mfu;
  add(has_mfu, row.mfu() ? formatted("%.1f %%", 100 * *row.mfu()) : "> 100 %");
  add(true, format_seconds(predicted_seconds(row.plan)));
  add(true, format_bytes(row.plan.static_bytes));
  add(true, format_bytes(row.plan.dynamic_bytes));
  add(true, formatted("%.2fx", memory_ratio(row, first)));
  add(row.measured, format_bytes(row.arena_peak_bytes));
  add(row.measured, format_bytes(row.rss_bytes));
  if (!row.reason.empty()) cells.push_back(row.reason);
  return cells;
}

std::string above_peak_text(const BenchReport& report) {
  const bool above = std::ranges::any_of(
      report.rows, [](const BenchRow& row) { return row.measured && row.has_mfu && !row.mfu(); });
  return above ? std::string("> 100 %: ") + kPeakUnderLoad + "\n" : "";
}

std::string order_text(const BenchReport& report) {
  const auto measured = std::ranges::count(report.rows, true, &BenchRow::measured);
  if (measured < 2) return "";
  return report.interleaved
             ? ", interleaved over the combinations"
             : ", one combination after the other (together they exceed the memory limit)";
}

}  // namespace

double BenchRow::median_s() const {
  if (step_s.empty()) return 0;
  std::vector<double> sorted = step_s;
  std::ranges::sort(sorted);
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

double BenchRow::gflops() const {
  return measured ? static_cast<double>(plan.model_flop) / median_s() * 1e-9 : 0;
}

std::optional<double> BenchRow::mfu() const {
  if (!measured || !has_mfu) return std::nullopt;
  return mfu_of(gflops(), matmul_peak(plan.threads, plan.bf16));
}

std::string to_json(const BenchReport& report) {
  Json json = {{"config", report.config},
               {"machine",
                {{"cpu", report.cpu},
                 {"threads", report.threads},
                 {"matmul_gflops", report.matmul_gflops},
                 {"ram_bytes", report.ram_bytes}}},
               {"memory_limit_bytes", report.memory_limit_bytes},
               {"allowance_bytes", kBenchAllowanceBytes},
               {"warmup", report.warmup},
               {"reps", report.reps},
               {"interleaved", report.interleaved},
               {"interrupted", report.interrupted},
               {"rows", Json::array()}};
  for (const BenchRow& row : report.rows) json["rows"].push_back(row_json(row, report.rows[0]));
  return json.dump(2);
}

std::string to_text(const BenchReport& report) {
  if (report.rows.empty()) return "Nothing was planned before the interruption.\n";
  std::vector<std::vector<std::string>> table = {header(report)};
  for (const BenchRow& row : report.rows) table.push_back(cells_of(row, report.rows[0]));
  char text[512];
  std::snprintf(text, sizeof text,
                "%s, %d thread%s, matmul peak %.0f GFLOP/s; memory limit %s, of which %s beside "
                "each plan\nSeconds per meta-step, %d repetition%s after %d warm-up%s%s\n",
                report.cpu.c_str(), report.threads, report.threads == 1 ? "" : "s",
                report.matmul_gflops, format_bytes(report.memory_limit_bytes).c_str(),
                format_bytes(kBenchAllowanceBytes).c_str(), report.reps,
                report.reps == 1 ? "" : "s", report.warmup, order_text(report).c_str(),
                report.interrupted ? "; interrupted" : "");
  return text + ("\n" + aligned_table(table, report.rows[0].settings.size())) +
         "\ntime, memory: median and dynamic bytes over the first row's; GFLOP/s: model FLOPs, "
         "nothing recomputed;\nMFU: over the matmul peak; predicted: the plan's FLOPs at that "
         "peak; measured: the arena's peak, equal to dynamic;\nRSS: of a process with this "
         "combination alone\n" +
         above_peak_text(report) + profiles_text(report);
}

std::string to_csv(const BenchReport& report) {
  std::vector<std::string> names;
  if (!report.rows.empty()) {
    for (const auto& [key, value] : report.rows[0].settings) names.push_back(key);
  }
  for (const char* name :
       {"repetition", "step_s", "steps_per_rep", "mode", "threads", "static_bytes", "dynamic_bytes",
        "arena_peak_bytes", "rss_bytes", "flop", "model_flop", "matmul_gflops"}) {
    names.emplace_back(name);
  }
  std::string text = csv_line(names) + "\n";
  for (const BenchRow& row : report.rows) {
    for (std::size_t rep = 0; rep < row.step_s.size(); ++rep) {
      std::vector<std::string> cells;
      for (const auto& [key, value] : row.settings) cells.push_back(value);
      cells.push_back(std::to_string(rep + 1));
      cells.push_back(number_text(row.step_s[rep]));
      cells.push_back(std::to_string(row.steps_per_rep));
      cells.push_back(row.plan.mode);
      for (const std::int64_t number :
           {std::int64_t{row.plan.threads}, row.plan.static_bytes, row.plan.dynamic_bytes,
            row.arena_peak_bytes, row.rss_bytes, row.plan.flop, row.plan.model_flop}) {
        cells.push_back(std::to_string(number));
      }
      cells.push_back(number_text(matmul_peak(row.plan.threads, row.plan.bf16)));
      text += csv_line(cells) + "\n";
    }
  }
  return text;
}

}  // namespace mixflow
