// What the numbers of a run depend on: its settings, its data, and the machine and the build that
// compute. Checkpoints hold it, so that a run goes on with what it began with.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/content.h"

namespace mixflow {

struct Identity {
  std::string settings;  // hash of comparable_settings
  std::vector<DataContent> data;
  // What may change the last bits.
  std::string mixflow;  // version
  std::string kernels;  // instruction set that ran
  std::string onednn;   // version
};
// Reads the data files; `facts`: of the config's source.
Identity identity_of(const Config& config, const DataFacts& facts);

// The settings that have an influence on what is computed, as YAML: without the number of threads,
// which checkpoints hold, when checkpoints are written, and directories of data files, whose
// content is compared.
std::string comparable_settings(const Config& config);

// For a checkpoint's metadata, and back: parse throws UserError with what is wrong.
std::map<std::string, std::string> to_metadata(const Identity& identity);
Identity parse_identity(const std::map<std::string, std::string>& metadata);

// Whether a run can go on. Throws UserError naming what results would differ by: other settings or
// data. Returns what may change the last bits, in words. `checkpoint`: the file, for messages.
std::vector<std::string> differences(const Identity& saved, const Identity& now,
                                     const std::string& checkpoint);

}  // namespace mixflow
