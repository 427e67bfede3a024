#include "report/find_runs.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "kernels/cpu.h"
#include "report/read_run.h"
#include "sweep/ledger.h"
#include "sweep/sweep_dir.h"
#include "util/error.h"
#include "util/file.h"
#include "util/parallel.h"
#include "util/text.h"

namespace mixflow {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Found {
  std::vector<fs::path> runs, rows, sweeps;
};

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

// A run directory is not searched any further. Directories that may not be read are passed over, as
// the shell's ** does.
void search(const fs::path& directory, Found& found) {
  if (is_file(directory / "config.yaml")) {
    found.runs.push_back(directory);
    return;
  }
  if (is_file(directory / "points.jsonl")) found.sweeps.push_back(directory);
  std::error_code ignored;
  std::vector<fs::path> below;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored)) {
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) {
      below.push_back(entry.path());
    } else if (entry.path().extension() == ".json") {
      found.rows.push_back(entry.path());
    }
  }
  std::ranges::sort(below);
  for (const fs::path& path : below) search(path, found);
}

std::string text_at(const Json& json, const char* key) {
  const auto value = json.find(key);
  return value != json.end() && value->is_string() ? value->get<std::string>() : "";
}

std::vector<Json> whole_lines(const fs::path& path) {
  std::vector<Json> lines;
  if (!is_file(path)) return lines;
  std::istringstream text(read_text(path));
  for (std::string line; std::getline(text, line);) {
    Json json = Json::parse(line, nullptr, false);
    if (json.is_object()) lines.push_back(std::move(json));
  }
  return lines;
}

// Of a point without a summary.
void apply(const PointStatus& status, RunRecord& record) {
  const std::string reason = status.record.is_object() ? text_at(status.record, "reason") : "";
  if (status.state == PointState::failed) {
    record.state = RunState::failed;
    record.note = reason.empty() ? record.note : reason;
  } else if (status.state == PointState::running) {
    record.note = "running; " + record.note;
  } else if (status.state == PointState::skipped) {
    record.note = "skipped: " + reason;
  }
}

// What a sweep knows of points that left no summary, those without a directory among them.
void add_sweep(const fs::path& sweep, std::vector<RunRecord>& records) {
  const fs::path ledger = SweepDir(sweep).ledger();
  const PointStates points = is_file(ledger) ? read_ledger(ledger) : PointStates();
  std::set<std::string> known;
  for (RunRecord& record : records) {
    if (record.directory.parent_path() != sweep / "points") continue;
    const std::string point = record.directory.filename().string();
    known.insert(point);
    if (record.state == RunState::unfinished) apply(points.status(point), record);
  }
  for (const Json& line : whole_lines(sweep / "points.jsonl")) {
    const std::string point = text_at(line, "id");
    if (point.empty() || !known.insert(point).second) continue;
    records.push_back({.name = (sweep / "points" / point).string(),
                       .state = RunState::unfinished,
                       .note = "not started"});
    apply(points.status(point), records.back());
  }
}

std::vector<RunRecord> read_all(const Found& found) {
  std::vector<RunRecord> records(found.runs.size());
  parallel_for(records.size(), usable_cores(), [&](std::size_t i) {
    records[i] = read_run(found.runs[i], found.runs[i].string());
  });
  for (const fs::path& sweep : found.sweeps) add_sweep(sweep, records);
  for (const fs::path& file : found.rows) {
    std::ranges::move(read_rows(file).records, std::back_inserter(records));
  }
  return records;
}

std::vector<RunRecord> read_file_argument(const std::string& path) {
  ResultRows rows = read_rows(path);
  if (!rows.is_result) {
    throw UserError(
        path +
        ": expected a run directory, a directory of runs, or what `mixflow bench --json` "
        "or `plan --json` printed");
  }
  return std::move(rows.records);
}

}  // namespace

std::vector<RunRecord> find_runs(const std::vector<std::string>& paths) {
  std::vector<RunRecord> all;
  std::set<std::string> seen;
  for (const std::string& path : paths) {
    std::error_code ignored;
    std::vector<RunRecord> records;
    if (fs::is_directory(path, ignored)) {
      Found found;
      const fs::path directory = fs::path(path).lexically_normal();
      search(directory.has_filename() ? directory : directory.parent_path(), found);
      std::ranges::sort(found.rows);
      records = read_all(found);
    } else if (fs::exists(path, ignored)) {
      records = read_file_argument(path);
    } else {
      throw UserError(path + ": no such file or directory");
    }
    if (records.empty()) {
      throw UserError(path +
                      ": no results below it: expected directories that `mixflow train --out` or "
                      "`sweep` wrote, or .json files from `bench --json` or `plan --json`");
    }
    for (RunRecord& record : records) {
      const fs::path identity = record.directory.empty() ? fs::path(record.name) : record.directory;
      const std::string real = fs::weakly_canonical(identity, ignored).string();
      if (seen.insert(real).second) all.push_back(std::move(record));
    }
  }
  return all;
}

}  // namespace mixflow
