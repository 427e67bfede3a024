// One result as it was found: a run directory, or a row of `bench --json` or `plan --json`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mixflow {

enum class RunState : std::uint8_t {
  finished,
  planned,      // a row of bench that was not measured; its plan counts
  interrupted,  // stopped by a signal, with a summary up to then
  unfinished,   // no summary: still going on, killed, or not started
  failed,       // its log or a sweep's ledger says so
  unreadable,   // its files are not those of a run
};
std::string_view name_of(RunState state);

struct RunRecord {
  std::string name;  // the directory as it was reached, or "file, row 3"
  RunState state = RunState::finished;
  std::string note;  // why it is not finished
  // Every key of its config by dotted path, and its value as YAML, in the order written.
  std::vector<std::pair<std::string, std::string>> keys;
  // Numbers of its summary (of a run without one: of the last line of its metrics); NaN where the
  // file has null, which is how numbers that are not finite are written.
  std::vector<std::pair<std::string, double>> values;
  // Where its curves and its config are; empty for rows of bench and plan.
  std::filesystem::path directory;
  // For rows of bench and plan: the config they came from.
  std::string config;

  std::optional<double> value(std::string_view value_name) const;
};

}  // namespace mixflow
