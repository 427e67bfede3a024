// The content of the files that a run reads, to notice that it has changed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/facts.h"

namespace mixflow {

struct DataContent {
  std::string path;
  std::int64_t bytes = 0;
  std::string hash;  // util/content_hash.h

  friend bool operator==(const DataContent&, const DataContent&) = default;
};

// One for each file that the source says it has read, or, where it names none, that the config's
// keys name; each once. Reads all bytes, piece by piece. Throws UserError and RunError as read_file
// does.
std::vector<DataContent> data_contents(const Config& config, const DataFacts& facts);

// JSON and back; parse throws UserError for other text.
std::string to_json(const std::vector<DataContent>& contents);
std::vector<DataContent> parse_contents(const std::string& json);

}  // namespace mixflow
