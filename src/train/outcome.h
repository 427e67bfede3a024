// How a training ended, in a file for whoever started it: `train --outcome FILE`.
#pragma once

#include <cstdint>
#include <exception>
#include <filesystem>
#include <string>

namespace mixflow {

struct TrainOutcome {
  // done, interrupted (by a signal, a checkpoint is written), config (data and command line too),
  // in_use, memory, non_finite, io, bug, or error for what is none of these.
  std::string code;
  std::string message;    // of the error; empty where there is none
  std::int64_t step = 0;  // meta-steps done
  std::int64_t peak_rss_bytes = 0;
  std::int64_t pid = 0;  // of the process that trained
};

// Of this process, which fails with `error`.
TrainOutcome outcome_of(const std::exception_ptr& error, std::int64_t step);
// Of this process, which has trained `step` meta-steps.
TrainOutcome outcome_of_end(bool interrupted, std::int64_t step);

std::string to_json(const TrainOutcome& outcome);
// UserError for other text.
TrainOutcome parse_outcome(const std::string& json);

// Writes the file as a whole. Where that fails, for a full disk say, there is no file: the error
// that the process ends with is worth more than this one.
void write_outcome(const std::filesystem::path& path, const TrainOutcome& outcome) noexcept;

}  // namespace mixflow
