// Run directories for tests, written by hand: each number in them is known.
#pragma once

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "../util/testing.h"
#include "report/find_runs.h"
#include "report/run_set.h"
#include "util/file.h"

namespace mixflow {

struct RunFiles {
  std::string config = "name: a\nseed: 1\n";
  std::string summary;               // none: no summary.json
  std::vector<std::string> metrics;  // lines
  std::vector<std::string> evals;
};

inline void write_run(const std::filesystem::path& directory, const RunFiles& files) {
  std::filesystem::create_directories(directory);
  const auto lines = [](const std::vector<std::string>& all) {
    std::string text;
    for (const std::string& line : all) text += line + "\n";
    return text;
  };
  write_atomically(directory / "config.yaml", files.config);
  write_atomically(directory / "metrics.jsonl", lines(files.metrics));
  write_atomically(directory / "eval.jsonl", lines(files.evals));
  if (!files.summary.empty()) write_atomically(directory / "summary.json", files.summary);
}

// A finished run with step_s and dynamic_bytes.
inline RunFiles finished(const std::string& config, double step_s, long dynamic_bytes) {
  char summary[256];
  std::snprintf(summary, sizeof summary,
                R"({"name": "a", "mode": "mixed", "steps": 3, "interrupted": false, "step_s": %.17g,
                    "dynamic_bytes": %ld})",
                step_s, dynamic_bytes);
  return {.config = config, .summary = summary};
}

inline std::string config_text(const std::string& mode, int steps, int seed) {
  return "name: a\nseed: " + std::to_string(seed) + "\ninner:\n  steps: " + std::to_string(steps) +
         "\ngradient:\n  mode: " + mode + "\n";
}

// modes x steps x seeds; step_s = steps * (mode reverse: 2) + seed / 10, bytes 1000 * the same
// without the seed.
inline void write_grid(const std::filesystem::path& directory) {
  for (const std::string mode : {"mixed", "reverse"}) {
    for (const int steps : {2, 10}) {
      for (const int seed : {1, 2, 3}) {
        const int level = steps * (mode == "reverse" ? 2 : 1);
        const std::string name = mode + "_" + std::to_string(steps) + "_" + std::to_string(seed);
        write_run(directory / name,
                  finished(config_text(mode, steps, seed), level + 0.1 * seed, 1000L * level));
      }
    }
  }
}

inline RunSet run_set(const std::filesystem::path& directory) {
  return RunSet(find_runs({directory.string()}));
}

}  // namespace mixflow
