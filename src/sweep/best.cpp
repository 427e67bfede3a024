#include "sweep/best.h"

#include <algorithm>
#include <map>
#include <utility>

#include "util/interval.h"
#include "util/text.h"

namespace mixflow {
namespace {

using Json = nlohmann::ordered_json;

// Losses of points that differ here are of different tasks, or in different units.
bool changes_what_is_measured(const std::string& key) {
  return key.starts_with("data") || key == "inner.loss" || key == "model.vocab" ||
         key == "model.kind";
}

struct SettingsRuns {
  const Point* first = nullptr;
  Json all;
  Moments loss;
};

struct Comparable {
  std::string split;
  std::int64_t inner_steps = 0;
  Json apart = Json::object();
  std::vector<SettingsRuns> settings;
};

SettingsRuns& settings_of(Comparable& set, const Json& without_seed, const Point& point) {
  for (SettingsRuns& known : set.settings) {
    if (known.all == without_seed) return known;
  }
  return set.settings.emplace_back(SettingsRuns{.first = &point, .all = without_seed});
}

BestSettings best_of(const Comparable& set) {
  const std::int64_t most = std::ranges::max_element(set.settings, {}, [](const SettingsRuns& s) {
                              return s.loss.count();
                            })->loss.count();
  const SettingsRuns* best = nullptr;
  std::size_t candidates = 0;
  for (const SettingsRuns& settings : set.settings) {
    if (settings.loss.count() < most) continue;
    ++candidates;
    if (!best || settings.loss.mean() < best->loss.mean()) best = &settings;
  }
  return {.settings = settings_text(best->all),
          .point = best->first->id,
          .loss = best->loss.mean(),
          .seeds = most,
          .split = set.split,
          .inner_steps = set.inner_steps,
          .among = settings_text(set.apart),
          .candidates = candidates};
}

}  // namespace

std::vector<BestSettings> best_settings(std::span<const Point* const> points,
                                        const std::function<Json(const Point&)>& result) {
  std::vector<Comparable> sets;
  std::map<std::string, std::size_t> place;
  for (const Point* point : points) {
    const Json found = result(*point);
    if (!found.is_object() || !found.contains("loss") || !found["loss"].is_number()) continue;
    Comparable set{.split = found.value("split", ""),
                   .inner_steps = found.value("inner_steps", std::int64_t{-1})};
    Json without_seed = Json::object();
    for (const auto& [key, value] : point->settings.items()) {
      if (key == "seed") continue;
      without_seed[key] = value;
      if (changes_what_is_measured(key)) set.apart[key] = value;
    }
    const std::string key =
        set.split + " " + std::to_string(set.inner_steps) + " " + set.apart.dump();
    const auto [entry, is_new] = place.try_emplace(key, sets.size());
    if (is_new) sets.push_back(std::move(set));
    settings_of(sets[entry->second], without_seed, *point).loss.add(found["loss"].get<double>());
  }
  std::vector<BestSettings> best;
  for (const Comparable& set : sets) best.push_back(best_of(set));
  return best;
}

std::string to_text(const BestSettings& best) {
  std::string text = "Best " + best.split + " loss";
  if (best.inner_steps >= 0) {
    text += " after " + std::to_string(best.inner_steps) + " inner steps";
  }
  if (!best.among.empty()) text += " with " + best.among;
  text += best.seeds == 1 ? ", one seed" : ", mean over " + std::to_string(best.seeds) + " seeds";
  text += ": " + formatted("%.4g", best.loss) + ", " +
          (best.settings.empty() ? best.point : best.settings) + " (of " +
          std::to_string(best.candidates) + ")\n";
  if (best.split == "test" && best.candidates > 1) {
    text +=
        "  chosen by the test loss, for want of a validation split: as a figure of what the\n"
        "  choice is worth it is too good\n";
  }
  return text;
}

}  // namespace mixflow
