#include "sweep/point.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <map>
#include <mutex>
#include <set>

#include "config/load.h"
#include "config/override.h"
#include "config/plain.h"
#include "data/source.h"
#include "kernels/cpu.h"
#include "sweep/structure.h"
#include "train/bench.h"
#include "train/planned.h"
#include "util/error.h"
#include "util/hash.h"
#include "util/parallel.h"
#include "util/text.h"

namespace mixflow {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const YamlNode& node) {
  Json json;
  switch (node.kind) {
    case YamlNode::Kind::null:
      break;
    case YamlNode::Kind::scalar:
      if (const auto integer = plain_integer(node)) return *integer;
      if (const PlainNumber number = plain_number(node);
          number.state == PlainNumber::State::number) {
        return number.value;
      }
      if (!node.quoted && (node.text == "true" || node.text == "false")) return node.text == "true";
      return node.text;
    case YamlNode::Kind::list:
      json = Json::array();
      for (const YamlNode& item : node.items) json.push_back(json_of(item));
      break;
    case YamlNode::Kind::map:
      json = Json::object();
      for (const YamlEntry& entry : node.entries) json[entry.key] = json_of(entry.value);
      break;
  }
  return json;
}

Json settings_json(const Settings& settings) {
  Json json = Json::object();
  for (const Setting& setting : settings) json[setting.key] = json_of(setting.value);
  return json;
}

std::string value_text(const Json& value) {
  if (value.is_object()) return "..";  // a whole section
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// A directory's name: readable, safe in shells and URLs, unique by the hash.
std::string id_of(const Json& settings, const Config& config, bool own_threads) {
  constexpr std::size_t kMostPrefix = 80;
  std::string prefix;
  for (const char c : settings_text(settings)) {
    const bool safe = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '-' || c == '=' || c == '_';
    if (safe) prefix += c;
    if (c == ' ') prefix += '_';
    if (c == ',') prefix += 'x';
  }
  if (prefix.starts_with('.') || prefix.starts_with('-')) prefix.insert(0, 1, '_');
  Config copy = config;
  if (!own_threads) copy.threads = 0;  // the sweep's choice is not part of what was asked for
  char hash[32];
  std::snprintf(hash, sizeof hash, "-%012llx",
                static_cast<unsigned long long>(hash_of(dump_config(copy)) >> 16U));
  return prefix.substr(0, kMostPrefix) + hash;
}

YamlNode base_tree(const SweepSpec& spec) {
  return parse_document(read_document(spec.base), spec.base);
}

// Sections first, then the keys in them, wherever the file has them: an axis over a section leaves
// those over its keys alone. Both may not say the same key.
Settings in_order(Settings settings) {
  const auto depth = [](const Setting& setting) { return path_segments(setting.key).size(); };
  std::ranges::stable_sort(settings, {}, depth);
  for (const Setting& section : settings) {
    for (const Setting& key : settings) {
      if (depth(section) >= depth(key) || !path_holds(section.key, key.key)) continue;
      if (!value_holds(section.key, section.value, key.key)) continue;
      fail_at(key.place, key.key,
              "is also said by " + section.key + " at " + section.value.place.text() +
                  "; keep one of the two");
    }
  }
  return settings;
}

// `settings` over `set` over the base.
Config config_of(const SweepSpec& spec, YamlNode tree, const Settings& settings) {
  Settings all = spec.set;
  all.insert(all.end(), settings.begin(), settings.end());
  for (const Setting& setting : in_order(std::move(all))) {
    apply_setting(tree, setting.key, setting.place, setting.value);
  }
  return with_absolute_paths(read_config(tree, spec.base));
}

Config config_of_point(const SweepSpec& spec, const YamlNode& tree, const Settings& settings) {
  try {
    return config_of(spec, tree, settings);
  } catch (const UserError& error) {
    throw UserError(std::string(error.what()) + " (in the point " +
                    settings_text(settings_json(settings)) + ")");
  }
}

// A value of the base config by its path; null where it has none.
Operand base_operand(const YamlNode& base, const std::string& key) {
  const YamlNode* node = &base;
  for (const std::string_view part : split(key, '.')) {
    const YamlEntry* entry = node->find(part);
    if (entry == nullptr) return {};
    node = &entry->value;
  }
  return operand_of(*node);
}

// The plans of points, by what they depend on.
class Plans {
 public:
  void note(const Config& config) { by_structure_.try_emplace(structure_of(config), Plan{config}); }

  void make_all() {
    std::vector<Plan*> all;
    for (auto& [structure, plan] : by_structure_) all.push_back(&plan);
    parallel_for(all.size(), usable_cores(), [&](std::size_t i) {
      const Config& config = all[i]->config;
      const std::unique_ptr<DataSchema> schema = make_schema(config);
      all[i]->run = plan_run(config, *schema);
      all[i]->memory = schema->memory();
    });
  }

  std::size_t count() const { return by_structure_.size(); }

  void give(const Config& config, Point& point) const {
    const Plan& plan = by_structure_.at(structure_of(config));
    point.static_bytes = plan.run.static_bytes;
    point.dynamic_bytes = plan.run.dynamic_bytes;
    point.data_bytes = plan.memory.reading_bytes;
    point.process_bytes = plan.run.held_bytes + plan.memory.held_bytes + kBenchAllowanceBytes;
    point.flop = plan.run.flop;
  }

 private:
  struct Plan {
    Config config;
    PlannedRun run;
    SourceMemory memory;
  };
  std::map<std::string, Plan> by_structure_;
};

}  // namespace

std::string settings_text(const Json& settings) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : settings.items()) keys.push_back(key);
  const std::vector<std::string> names = short_names(keys);
  std::vector<std::string> words;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    words.push_back(names[i] + "=" + value_text(settings.at(keys[i])));
  }
  return join(words, " ");
}

std::string to_line(const Point& point) {
  const Json json = {
      {"id", point.id},
      {"settings", point.settings},
      {"threads", point.threads},
      {"bf16", point.bf16},
      {"own_threads", point.own_threads},
      {"meta_steps", point.meta_steps},
      {"static_bytes", point.static_bytes},
      {"dynamic_bytes", point.dynamic_bytes},
      {"process_bytes", point.process_bytes},
      {"data_bytes", point.data_bytes},
      {"flop", point.flop},
      {"config", point.config},
  };
  return json.dump() + "\n";
}

namespace {

// Values that are read as numbers must be such numbers, and an id must be a file's name: it is that
// of the point's directory.
void check_types(const Json& json) {
  const auto fail = [](const std::string& what) {
    throw UserError("not a point of a sweep: " + what);
  };
  if (!json.is_object()) fail("expected an object");
  const std::string id = json.at("id");
  if (id.empty() || id.front() == '.' || id.find('/') != std::string::npos ||
      id.find('\0') != std::string::npos) {
    fail("id " + in_quotes(id) + " is no name of a directory");
  }
  const Json& settings = json.at("settings");
  if (!settings.is_object()) fail("settings: expected an object");
  for (const char* key :
       {"threads", "meta_steps", "static_bytes", "dynamic_bytes", "process_bytes", "data_bytes"}) {
    const Json& value = json.at(key);
    const bool sound = value.is_number_integer() && value >= 0 &&
                       value <= (std::string_view(key) == "threads" ? std::int64_t{1} << 20
                                                                    : std::int64_t{1} << 60);
    if (!sound) fail(std::string(key) + ": expected a whole number >= 0");
  }
}

}  // namespace

Point parse_point(const std::string& line) {
  try {
    const Json json = Json::parse(line);
    check_types(json);
    Point point;
    point.id = json.at("id");
    point.settings = json.at("settings");
    point.config = json.at("config");
    point.threads = json.at("threads");
    point.bf16 = json.at("bf16");
    point.own_threads = json.at("own_threads");
    point.meta_steps = json.at("meta_steps");
    point.static_bytes = json.at("static_bytes");
    point.dynamic_bytes = json.at("dynamic_bytes");
    point.process_bytes = json.at("process_bytes");
    point.data_bytes = json.at("data_bytes");
    point.flop = json.at("flop");
    return point;
  } catch (const nlohmann::json::exception& error) {
    throw UserError(std::string("not a point of a sweep: ") + error.what());
  }
}

std::string resolve_base(const SweepSpec& spec) {
  const YamlNode tree = base_tree(spec);
  try {
    return dump_config(config_of(spec, tree, {}));
  } catch (const UserError&) {
    // It may need what the axes say.
    try {
      return dump_config(config_of(spec, tree, first_combination(spec)));
    } catch (const UserError&) {
    }
    throw;
  }
}

ResolvedSweep resolve_points(const SweepSpec& spec, int threads) {
  ResolvedSweep sweep{.base = resolve_base(spec)};
  const YamlNode resolved = parse_document(sweep.base, spec.base);
  const Combinations combinations =
      expand(spec, [&](const std::string& key) { return base_operand(resolved, key); });
  sweep.left_out = combinations.left_out;

  const YamlNode tree = base_tree(spec);
  std::vector<Config> configs(combinations.points.size());
  std::vector<char> own_threads(configs.size());
  parallel_for(configs.size(), usable_cores(), [&](std::size_t i) {
    configs[i] = config_of_point(spec, tree, combinations.points[i]);
    own_threads[i] = configs[i].threads > 0;
    if (configs[i].threads == 0) configs[i].threads = threads;
  });

  Plans plans;
  std::set<std::string> ids, hashes;
  for (std::size_t i = 0; i < configs.size(); ++i) {
    Point point;
    point.settings = settings_json(combinations.points[i]);
    point.id = id_of(point.settings, configs[i], own_threads[i] != 0);
    if (!hashes.insert(point.id.substr(point.id.size() - 12)).second) {
      ++sweep.repeated;
      continue;
    }
    point.config = dump_config(configs[i]);
    point.threads = configs[i].threads;
    point.bf16 = configs[i].precision == Precision::bf16;
    point.own_threads = own_threads[i] != 0;
    point.meta_steps = configs[i].meta.steps;
    plans.note(configs[i]);
    sweep.points.push_back(std::move(point));
    std::swap(configs[sweep.points.size() - 1], configs[i]);
  }
  plans.make_all();
  sweep.plans = plans.count();
  for (std::size_t i = 0; i < sweep.points.size(); ++i) plans.give(configs[i], sweep.points[i]);
  return sweep;
}

namespace {

// What makes two points the same run, whatever version of mixflow wrote them: keys that have come
// since have their defaults.
std::string identity(const Point& point) {
  try {
    Config config = parse_config(point.config, point.id);
    if (!point.own_threads) config.threads = 0;
    return dump_config(config);
  } catch (const UserError&) {
    return point.config;  // no config to this version
  }
}

[[noreturn]] void fail_changed(const SweepSpec& spec, const std::string& directory,
                               const Point& point, const std::vector<Point>& now) {
  const auto same =
      std::ranges::find_if(now, [&](const Point& p) { return p.settings == point.settings; });
  if (same == now.end()) {
    throw UserError(spec.file + ": has no point " + settings_text(point.settings) +
                    ", which the sweep in " + directory +
                    " has; a sweep can be extended by values, seeds and points, but keeps those it "
                    "has: add them again, or start anew with another --out");
  }
  throw UserError(spec.base + ": the base config has changed since the sweep in " + directory +
                  " began, and with it the point " + settings_text(point.settings) + ": " +
                  first_difference(point.config, same->config) +
                  ". Restore it to continue, or start anew with another --out");
}

}  // namespace

Extension extend(const SweepSpec& spec, const std::string& directory,
                 const std::vector<Point>& saved, const std::vector<Point>& now) {
  std::map<std::string, const Point*> by_identity;
  for (const Point& point : now) by_identity.emplace(identity(point), &point);
  Extension extension{.points = saved};
  for (const Point& point : saved) {
    if (by_identity.erase(identity(point)) == 0) fail_changed(spec, directory, point, now);
  }
  for (const Point& point : now) {
    const bool is_new =
        std::ranges::any_of(by_identity, [&](const auto& entry) { return entry.second == &point; });
    if (is_new) extension.points.push_back(point);
  }
  extension.added = extension.points.size() - saved.size();
  return extension;
}

}  // namespace mixflow
