// Configurations that the tests of this folder share.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/load.h"
#include "util/error.h"

namespace mixflow {

// The least that loads.
inline const std::string kLeast =
    "data: {kind: sinusoid}\n"
    "model: {kind: mlp}\n"
    "meta: {parameters: [{kind: init}]}\n";

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// Every configuration that ships, sweeps not, in a fixed order.
inline std::vector<std::filesystem::path> shipped_configs() {
  std::vector<std::filesystem::path> paths;
  const auto root = std::filesystem::path(MIXFLOW_SOURCE_DIR) / "configs";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const bool sweep = entry.path().parent_path().filename() == "sweeps";
    if (entry.path().extension() == ".yaml" && !sweep) paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  return paths;
}

// What the configurations say, wherever it was written.
inline bool same_settings(const Config& a, const Config& b) {
  return a.name == b.name && a.seed == b.seed && a.precision == b.precision &&
         a.threads == b.threads && a.data == b.data && a.model == b.model && a.inner == b.inner &&
         a.meta == b.meta && a.gradient == b.gradient;
}

// The message of the UserError that loading throws, or "" where it loads.
inline std::string load_error(const std::string& text,
                              const std::vector<std::string>& overrides = {}) {
  try {
    parse_config(text, "c.yaml", overrides);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

}  // namespace mixflow
