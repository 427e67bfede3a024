// Finds results below directories: run directories at any depth (a sweep's are below its points/),
// and files that `bench --json` or `plan --json` printed.
#pragma once

#include <string>
#include <vector>

#include "report/run_record.h"

namespace mixflow {

// Every result below the paths, each once, in the order of the paths and sorted by name within one.
// Points that a sweep's ledger calls failed are failed; points that were never started are
// unfinished. A path may also be such a file itself. UserError for a path that is not there or
// holds no result.
std::vector<RunRecord> find_runs(const std::vector<std::string>& paths);

}  // namespace mixflow
