#include "train/idle_plan.h"

#include <algorithm>
#include <set>
#include <string>

#include "config/values.h"
#include "graph/print.h"
#include "meta/experiment.h"
#include "plan/program.h"
#include "train/baseline.h"

namespace mixflow {
namespace {

// Weights of more than 4 MiB are in no loop that becomes straight code (transform/inline_loops.h).
constexpr std::int64_t kMostWeights = std::int64_t{1} << 20;

// A graph's text without what is no part of the plan: what loops were to keep, where nothing asks
// for it any more, and the names of parts of the code that nodes come from.
std::string bare(const std::string& text) {
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t mark = std::min(text.find("keep=", at), text.find("  # ", at));
    if (mark == std::string::npos) break;
    out.append(text, at, mark - at);
    at = std::min(text.find_first_of(text[mark] == 'k' ? ",}" : "\n", mark), text.size());
  }
  return at < text.size() ? out.append(text, at) : out;
}

std::string planned(const Config& config, const DataSchema& source, int threads) {
  const Experiment experiment =
      build_experiment(config, source, compute_type(config), {.train = true});
  return bare(to_text(*optimize(experiment.train.graph, plan_options(config, threads))));
}

}  // namespace

std::vector<IdleSetting> idle_in_plan(const Config& config, const DataSchema& source, int threads) {
  std::vector<IdleSetting> idle;
  if (config.meta.eval.tasks > 1 && source.one_task(Split::test) &&
      source.one_task(Split::validation)) {
    idle.push_back({"meta.eval.tasks",
                    "all of these tasks would be equal: the data set is evaluated once, with "
                    "intervals over its examples"});
  }
  std::set<std::string> told;  // already, by rules that need no plan
  for (const IdleSetting& setting : idle_settings(config)) told.insert(setting.path);
  struct Candidate {
    std::string path;
    Config without;
  };
  std::vector<Candidate> candidates;
  for (const KeyValue& key : changed_keys(config)) {
    if (!key.path.starts_with("gradient.remat.") || told.contains(key.path)) continue;
    candidates.push_back({key.path, config});
    set_default(candidates.back().without, key.path);
  }
  // The loader has made the preset into a policy.
  const bool policy = config.gradient.remat.policy != RematPolicy{};
  if (config.origins.contains("gradient.preset") && policy) {
    candidates.push_back({"gradient.preset", config});
    candidates.back().without.gradient.remat.policy = {};
  }
  if (candidates.empty()) return idle;
  const bool large =
      build_experiment(config, source, compute_type(config), {}).theta_size > kMostWeights;
  const std::string whole = large ? "" : planned(config, source, threads);
  for (const Candidate& candidate : candidates) {
    const bool inlining = candidate.path == "gradient.remat.inline";
    if (large ? !inlining : planned(candidate.without, source, threads) != whole) continue;
    idle.push_back(
        {candidate.path, inlining ? "no loop of this config is short and small enough to become "
                                    "straight code"
                                  : "loops over few values become straight code here, which keeps "
                                    "what "
                                    "it needs; gradient.remat.inline: false keeps them loops"});
  }
  return idle;
}

}  // namespace mixflow
