// Reads what training leaves in a run directory, and what `bench --json` and `plan --json` print.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "report/run_record.h"

namespace mixflow {

// Files that cannot be read or are no run's make the record unreadable, with the reason; nothing is
// thrown.
RunRecord read_run(const std::filesystem::path& directory, const std::string& name);

// One record for each row. `is_result` is false for JSON of anything else, which is no error here.
struct ResultRows {
  bool is_result = false;
  std::vector<RunRecord> records;
};
ResultRows read_rows(const std::filesystem::path& file);

// The keys of a config by dotted path: meta.parameters[0].kind; a list of plain values is one
// value. UserError for text that is no YAML.
std::vector<std::pair<std::string, std::string>> flat_config(const std::string& text,
                                                             const std::string& file);

}  // namespace mixflow
