#include <spdlog/spdlog.h>

#include <set>
#include <string>

#include "cli/commands.h"

namespace mixflow {

Config load(const CommonOptions& options) { return load_all(options, {}).front().config; }

std::vector<Combination> load_all(const CommonOptions& options,
                                  const std::vector<std::string>& lists) {
  std::vector<std::string> overrides = options.overrides;
  if (options.threads >= 0) overrides.push_back("threads=" + std::to_string(options.threads));
  std::vector<Combination> all = load_combinations(options.config, overrides, lists);
  std::set<std::string> warned;
  for (const Combination& combination : all) {
    for (const std::string& warning : combination.config.warnings) {
      if (warned.insert(warning).second) spdlog::warn("{}", warning);
    }
  }
  return all;
}

}  // namespace mixflow
