#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/commands.h"
#include "kernels/cpu.h"
#include "sweep/ledger.h"
#include "sweep/runner.h"
#include "train/planned.h"
#include "train/progress.h"
#include "util/error.h"
#include "util/memory.h"
#include "util/table.h"
#include "util/text.h"

namespace mixflow {
namespace {

// "2/8": the second of eight.
std::pair<int, int> parse_shard(const std::string& text) {
  const auto number = [](std::string_view part) {
    int value = 0;
    const auto result = std::from_chars(part.data(), part.data() + part.size(), value);
    return result.ec == std::errc() && result.ptr == part.data() + part.size() ? value : 0;
  };
  const std::size_t slash = std::min(text.find('/'), text.size());
  const int shard = number(std::string_view(text).substr(0, slash));
  const int shards = slash < text.size() ? number(std::string_view(text).substr(slash + 1)) : 0;
  if (shard < 1 || shards < shard) {
    throw UserError("sweep: --shard " + text +
                    ": expected i/n with 1 <= i <= n, such as --shard 2/8");
  }
  return {shard, shards};
}

struct Loaded {
  std::vector<Point> points;
  std::size_t left_out = 0, repeated = 0;  // of a sweep that begins now
};

// The points of the sweep in the directory; a new sweep's are made and, unless this is a dry run,
// frozen there.
Loaded load_points(const SweepCommand& o, const SweepSpec& spec, const SweepDir& directory) {
  if (!directory.holds_sweep()) {
    const int threads = o.threads > 0 ? o.threads : std::max(1, usable_cores() / o.jobs);
    ResolvedSweep sweep = resolve_points(spec, threads);
    if (o.dry_run) return {std::move(sweep.points), sweep.left_out, sweep.repeated};
    directory.create(spec, sweep);
    if (sweep.repeated > 0) {
      spdlog::warn("{} combination(s) give the config of another and are run once", sweep.repeated);
    }
  }
  Loaded loaded{directory.points()};
  if (!directory.is_same(spec, resolve_base(spec))) {
    // With the threads that it began with: results depend on them.
    const auto shared = std::ranges::find(loaded.points, false, &Point::own_threads);
    const int threads =
        shared == loaded.points.end() ? std::max(1, usable_cores() / o.jobs) : shared->threads;
    const ResolvedSweep sweep = resolve_points(spec, threads);
    const std::size_t before = loaded.points.size();
    if (o.dry_run) {
      loaded.points = extend(spec, directory.path().string(), loaded.points, sweep.points).points;
    } else {
      const std::size_t added = directory.add(spec, sweep);
      spdlog::info("{} points added to the {} of the sweep in {}", added, before,
                   directory.path().string());
      loaded.points = directory.points();
    }
  }
  const auto other = std::ranges::find_if(loaded.points, [&](const Point& point) {
    return o.threads > 0 && !point.own_threads && point.threads != o.threads;
  });
  if (other != loaded.points.end()) {
    throw UserError("sweep: --threads " + std::to_string(o.threads) + ": the sweep in " +
                    directory.path().string() + " began with " + std::to_string(other->threads) +
                    " threads for a point, and results depend on it; leave --threads out, or "
                    "choose another --out");
  }
  return loaded;
}

double predicted_seconds(const Point& point) {
  return point.work() / (matmul_peak(point.threads, point.bf16) * 1e9);
}

std::map<std::string, std::string> states_of(const std::vector<Point>& points,
                                             const SweepDir& directory) {
  std::map<std::string, std::string> states;
  if (!directory.holds_sweep()) return states;
  const Ledger ledger(directory.ledger());
  for (const Point& point : points) states[point.id] = name_of(ledger.status(point.id).state);
  return states;
}

void print_points_json(const std::vector<Point>& points, const SweepDir& directory) {
  const auto states = states_of(points, directory);
  nlohmann::ordered_json json = {{"directory", directory.path().string()},
                                 {"points", nlohmann::ordered_json::array()}};
  for (const Point& point : points) {
    json["points"].push_back({{"id", point.id},
                              {"settings", point.settings},
                              {"state", states.empty() ? "queued" : states.at(point.id)},
                              {"threads", point.threads},
                              {"static_bytes", point.static_bytes},
                              {"dynamic_bytes", point.dynamic_bytes},
                              {"process_bytes", point.process_bytes},
                              {"meta_steps", point.meta_steps},
                              {"flop", point.flop},
                              {"predicted_s", predicted_seconds(point)}});
  }
  std::printf("%s\n", json.dump(2).c_str());
}

void print_points(const std::vector<Point>& points, const Loaded& loaded,
                  const SweepDir& directory) {
  const auto states = states_of(points, directory);
  std::vector<std::vector<std::string>> table = {
      {"point", "threads", "static", "dynamic", "process", "predicted"}};
  if (!states.empty()) table[0].emplace_back("state");
  double seconds = 0;
  std::int64_t most_bytes = 0;
  for (const Point& point : points) {
    const double predicted = predicted_seconds(point);
    table.push_back({point.id, std::to_string(point.threads), format_bytes(point.static_bytes),
                     format_bytes(point.dynamic_bytes), format_bytes(point.process_bytes),
                     format_seconds(predicted)});
    if (!states.empty()) table.back().push_back(states.at(point.id));
    seconds += predicted;
    most_bytes = std::max(most_bytes, point.process_bytes);
  }
  std::printf(
      "%s%zu points; at most %s for a process; %s in all at the matmul peak, which small "
      "models stay far below\n",
      aligned_table(table, 1).c_str(), points.size(), format_bytes(most_bytes).c_str(),
      format_seconds(seconds).c_str());
  if (loaded.left_out > 0) std::printf("%zu combinations left out by when\n", loaded.left_out);
  if (loaded.repeated > 0) std::printf("%zu combinations repeat others\n", loaded.repeated);
}

void print_summary_json(const SweepSummary& summary, const SweepDir& directory) {
  nlohmann::ordered_json json = {{"directory", directory.path().string()},
                                 {"points", summary.points},
                                 {"done", summary.done},
                                 {"failed", summary.failed},
                                 {"skipped", summary.skipped},
                                 {"interrupted", summary.interrupted}};
  auto& best = json["best"] = nlohmann::ordered_json::array();
  for (const BestSettings& set : summary.best) {
    best.push_back({{"settings", set.settings},
                    {"point", set.point},
                    {"loss", set.loss},
                    {"seeds", set.seeds},
                    {"split", set.split},
                    {"inner_steps", set.inner_steps},
                    {"among", set.among},
                    {"candidates", set.candidates}});
  }
  auto& problems = json["problems"] = nlohmann::ordered_json::array();
  for (const SweepSummary::Problem& problem : summary.problems) {
    problems.push_back(
        {{"point", problem.point}, {"kind", problem.kind}, {"reason", problem.reason}});
  }
  std::printf("%s\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

void print_summary(const SweepSummary& summary, const SweepSpec& spec, const SweepDir& directory) {
  const std::size_t left = summary.points - summary.done - summary.failed - summary.skipped;
  std::printf("%s: %s: %zu of %zu points done, %zu failed, %zu skipped, %zu left\n",
              spec.name.c_str(), summary.interrupted ? "interrupted" : "ended", summary.done,
              summary.points, summary.failed, summary.skipped, left);
  for (const BestSettings& best : summary.best) std::printf("%s", visible(to_text(best)).c_str());
  for (const SweepSummary::Problem& problem : summary.problems) {
    std::printf("  %s: %s: %s\n", visible_line(problem.point).c_str(),
                visible_line(problem.kind).c_str(), visible(problem.reason).c_str());
  }
  std::printf("Sweep directory: %s%s\n", visible_line(directory.path().string()).c_str(),
              summary.failed > 0 ? "; --retry-failed runs failed points again" : "");
}

}  // namespace

int run(const SweepCommand& o) {
  const std::pair<int, int> shard = parse_shard(o.shard);
  const std::int64_t memory =
      parse_memory(o.memory_limit, usable_memory_bytes(), "sweep: --memory-limit");
  const SweepSpec spec = load_sweep(o.file);
  const SweepDir directory(o.out.empty() ? "runs/" + spec.name : o.out);
  const Loaded loaded = load_points(o, spec, directory);
  if (o.dry_run) {
    std::vector<Point> points;
    for (const Point* point : of_shard(loaded.points, shard.first, shard.second)) {
      points.push_back(*point);
    }
    if (o.json) {
      print_points_json(points, directory);
    } else {
      print_points(points, loaded, directory);
    }
    return 0;
  }
  const SweepSummary summary = run_sweep(directory, loaded.points,
                                         {.jobs = o.jobs,
                                          .shard = shard.first,
                                          .shards = shard.second,
                                          .memory_bytes = memory,
                                          .point_bytes = spec.memory_bytes,
                                          .retry_failed = o.retry_failed,
                                          .progress = !o.quiet,
                                          .stale_seconds = o.stale_seconds,
                                          .heartbeat_seconds = o.stale_seconds / 8});
  if (o.json) {
    print_summary_json(summary, directory);
  } else {
    print_summary(summary, spec, directory);
  }
  if (summary.interrupted) return 130;
  return summary.done == summary.points ? 0 : 1;
}

}  // namespace mixflow
