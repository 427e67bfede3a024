#include "report/find_runs.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "kernels/cpu.h"
#include "report/read_run.h"
#include "util/error.h"
#include "util/file.h"
#include "util/parallel.h"
#include "util/text.h"

namespace mixflow {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

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

// The first of `keys` that the object has, as text.
std::string text_at(const Json& json, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    const auto value = json.find(key);
    if (value == json.end() || value->is_null()) continue;
    return value->is_string() ? value->get<std::string>() : value->dump();
  }
  return {};
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

// What a sweep knows of points that left no summary: the last state in its ledger, and the points
// without a directory.
void add_sweep(const fs::path& sweep, std::vector<RunRecord>& records) {
  struct State {
    bool failed = false;
    std::string note;
  };
  std::map<std::string, State> states;
  for (const Json& line : whole_lines(sweep / "ledger.jsonl")) {
    const std::string point = text_at(line, {"name", "point"});
    const std::string state = text_at(line, {"state", "status"});
    if (!point.empty() && !state.empty()) {
      states[point] = {state == "failed", text_at(line, {"error", "message", "reason"})};
    }
  }
  std::set<std::string> known;
  const auto apply = [&](const std::string& point, RunRecord& record) {
    const auto found = states.find(point);
    if (found == states.end() || !found->second.failed) return;
    record.state = RunState::failed;
    record.note = found->second.note.empty() ? record.note : found->second.note;
  };
  for (RunRecord& record : records) {
    if (record.directory.parent_path() != sweep / "points") continue;
    known.insert(record.directory.filename().string());
    if (record.state != RunState::finished) apply(record.directory.filename().string(), record);
  }
  for (const Json& line : whole_lines(sweep / "points.jsonl")) {
    const std::string point = text_at(line, {"name", "point"});
    if (point.empty() || !known.insert(point).second) continue;
    records.push_back({.name = (sweep / "points" / point).string(),
                       .state = RunState::unfinished,
                       .note = "not started"});
    apply(point, records.back());
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
