#include "sweep/spec.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "config/load.h"
#include "config/read.h"
#include "config/schema.h"
#include "util/error.h"
#include "util/memory.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr DocumentKind kSweep{
    .name = "sweep", .needs = "at least base and an axis", .sections = "\"base:\" and \"grid:\""};
constexpr std::int64_t kMostSamples = 100'000;

// Whether the key whose path is `key` holds an integer, whatever the kinds around it.
bool is_integer_key(std::string key) {
  for (std::size_t at = 0; (at = key.find('[', at)) != std::string::npos; ++at) {
    key.erase(at + 1, key.find(']', at) - at - 1);  // schema paths have []
  }
  return std::ranges::any_of(schema_rows(), [&](const SchemaRow& row) {
    return row.path == key && std::holds_alternative<IntegerType>(row.key->type);
  });
}

class SpecReader {
 public:
  SpecReader(const std::string& path, std::string text) : text_(std::move(text)) {
    spec_.file = path;
    root_ = parse_document(text_, path, kSweep);
  }

  SweepSpec read() {
    check_keys();
    read_base();
    read_name();
    if (const YamlEntry* entry = root_.find("set")) spec_.set = settings(section(*entry), "set");
    if (const YamlEntry* entry = root_.find("grid")) spec_.grid = axes(*entry);
    if (const YamlEntry* entry = root_.find("zip")) read_zip(*entry);
    if (const YamlEntry* entry = root_.find("list")) read_list(*entry);
    if (const YamlEntry* entry = root_.find("random")) read_random(*entry);
    if (const YamlEntry* entry = root_.find("seeds")) {
      spec_.seeds = Axis{"seed", entry->place, values(entry->value, "seeds")};
    }
    if (const YamlEntry* entry = root_.find("when")) read_when(*entry);
    if (const YamlEntry* entry = root_.find("memory")) read_memory(*entry);
    check_unique();
    return std::move(spec_);
  }

 private:
  void check_keys() const {
    static constexpr std::string_view kKeys[] = {"base", "name",   "set",   "grid", "zip",
                                                 "list", "random", "seeds", "when", "memory"};
    for (const YamlEntry& entry : root_.entries) {
      if (std::ranges::find(kKeys, entry.key) != std::end(kKeys)) continue;
      const std::string_view near = nearest(entry.key, kKeys);
      fail_at(entry.place, entry.key,
              "unknown key of a sweep" +
                  (near.empty() ? "; keys here: " + join(kKeys, ", ") +
                                      " (keys of the config belong under set or an axis)"
                                : ", did you mean " + std::string(near) + "?"));
    }
  }

  void read_base() {
    const YamlEntry* entry = root_.find("base");
    if (entry == nullptr) {
      fail_at(root_.place, "base", "missing; it is the config that the sweep varies, a file name");
    }
    if (entry->value.kind != YamlNode::Kind::scalar || entry->value.text.empty()) {
      fail_at(entry->value.place, "base",
              "expected the file name of a config, got " + found_text(entry->value));
    }
    spec_.base = resolved_path(entry->value.text, spec_.file);
    spec_.base_place = entry->value.place;
    std::error_code ignored;
    if (!std::filesystem::exists(spec_.base, ignored)) {
      fail_at(spec_.base_place, "base",
              "no such file: " + entry->value.text +
                  "; it is relative to the current directory or to the sweep's");
    }
  }

  void read_name() {
    spec_.name = std::filesystem::path(spec_.file).stem().string();
    const YamlEntry* entry = root_.find("name");
    if (entry == nullptr) return;
    const Key& key = *std::ranges::find(schema(), "name", &Key::name);
    spec_.name = std::get<std::string>(read_value(key, entry->value, "name", spec_.name));
  }

  // A block that must be a map.
  const YamlNode& section(const YamlEntry& entry) const {
    if (entry.value.kind != YamlNode::Kind::map || entry.value.entries.empty()) {
      fail_at(entry.value.place, entry.key,
              "expected keys and their values, such as {inner.steps: [1, 2, 5]}, got " +
                  found_text(entry.value));
    }
    return entry.value;
  }

  static std::vector<Setting> settings(const YamlNode& map, const std::string& path) {
    std::vector<Setting> all;
    for (const YamlEntry& entry : map.entries) {
      if (entry.key.empty()) fail_at(entry.place, path, "expected a key's path, got nothing");
      all.push_back({entry.key, entry.place, entry.value});
    }
    return all;
  }

  static std::vector<YamlNode> values(const YamlNode& node, const std::string& path) {
    if (node.kind != YamlNode::Kind::list) {
      fail_at(node.place, path,
              "expected a list of values, such as [1, 2, 5], got " + found_text(node));
    }
    if (node.items.empty()) {
      fail_at(node.place, path, "an empty list; give at least one value or remove the axis");
    }
    return node.items;
  }

  std::vector<Axis> axes(const YamlEntry& block) const {
    std::vector<Axis> all;
    for (Setting& setting : settings(section(block), block.key)) {
      std::vector<YamlNode> list = values(setting.value, child_path(block.key, setting.key));
      all.push_back({std::move(setting.key), setting.place, std::move(list)});
    }
    return all;
  }

  void read_zip(const YamlEntry& block) {
    spec_.zip = axes(block);
    const Axis& first = spec_.zip.front();
    for (const Axis& axis : spec_.zip) {
      if (axis.values.size() == first.values.size()) continue;
      fail_at(axis.place, child_path("zip", axis.key),
              "has " + std::to_string(axis.values.size()) + " values, but " + first.key + " has " +
                  std::to_string(first.values.size()) + "; lists of a zip have equal lengths");
    }
  }

  void read_list(const YamlEntry& block) {
    if (block.value.kind != YamlNode::Kind::list) {
      for (const Axis& axis : axes(block)) {
        for (const YamlNode& value : axis.values)
          spec_.list.push_back({{axis.key, axis.place, value}});
      }
      return;
    }
    const std::vector<YamlNode> points = values(block.value, "list");
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (points[i].kind != YamlNode::Kind::map) {
        fail_at(points[i].place, item_path("list", i),
                "expected the settings of a point, such as {inner.steps: 5}, got " +
                    found_text(points[i]));
      }
      spec_.list.push_back(settings(points[i], item_path("list", i)));
    }
  }

  void read_random(const YamlEntry& block) {
    for (const YamlEntry& entry : section(block).entries) {
      if (entry.key == "samples") {
        spec_.samples = integer(entry.value, "random.samples", 1, kMostSamples);
      } else if (entry.key == "seed") {
        spec_.random_seed =
            static_cast<std::uint64_t>(integer(entry.value, "random.seed", 0, kLargestInt64));
      } else {
        spec_.random.push_back(random_axis(entry));
      }
    }
    if (spec_.samples == 0) {
      fail_at(block.place, "random.samples", "missing; it is the number of points to draw");
    }
    if (spec_.random.empty()) {
      fail_at(block.place, "random",
              "no key to draw; add one, such as inner.optimizer.lr: {log_uniform: [1e-4, 1e-1]}");
    }
  }

  static std::int64_t integer(const YamlNode& node, const std::string& path, std::int64_t low,
                              std::int64_t high) {
    const std::optional<std::int64_t> value = plain_integer(node);
    if (value && *value >= low && *value <= high) return *value;
    fail_at(node.place, path,
            "expected an integer in [" + std::to_string(low) + ", " + std::to_string(high) +
                "], got " + found_text(node));
  }

  static RandomAxis random_axis(const YamlEntry& entry) {
    const std::string path = child_path("random", entry.key);
    RandomAxis axis{.key = entry.key, .place = entry.place};
    if (entry.value.kind == YamlNode::Kind::list) {
      axis.choices = values(entry.value, path);
      return axis;
    }
    if (entry.value.kind != YamlNode::Kind::map || entry.value.entries.size() != 1) {
      fail_at(
          entry.value.place, path,
          "expected {uniform: [low, high]}, {log_uniform: [low, high]} or {choice: [..]}, got " +
              found_text(entry.value));
    }
    const YamlEntry& law = entry.value.entries.front();
    if (law.key == "choice") {
      axis.choices = values(law.value, child_path(path, "choice"));
    } else if (law.key == "uniform" || law.key == "log_uniform" || law.key == "log-uniform") {
      axis.kind = law.key == "uniform" ? RandomAxis::Kind::uniform : RandomAxis::Kind::log_uniform;
      read_interval(law.value, child_path(path, law.key), axis);
    } else {
      static constexpr std::string_view kLaws[] = {"uniform", "log_uniform", "choice"};
      const std::string_view near = nearest(law.key, kLaws);
      fail_at(
          law.place, child_path(path, law.key),
          "unknown distribution" + (near.empty() ? "; there are " + join(kLaws, ", ")
                                                 : ", did you mean " + std::string(near) + "?"));
    }
    return axis;
  }

  static std::optional<double> finite(const YamlNode& node) {
    const PlainNumber number = plain_number(node);
    if (number.state != PlainNumber::State::number || !std::isfinite(number.value)) {
      return std::nullopt;
    }
    return number.value;
  }

  static void read_interval(const YamlNode& node, const std::string& path, RandomAxis& axis) {
    const bool logarithmic = axis.kind == RandomAxis::Kind::log_uniform;
    const bool two = node.items.size() == 2;
    const std::optional<double> low = two ? finite(node.items[0]) : std::nullopt;
    const std::optional<double> high = two ? finite(node.items[1]) : std::nullopt;
    if (!low || !high || *low > *high || (logarithmic && *low <= 0)) {
      fail_at(node.place, path,
              std::string("expected [low, high], two numbers, ") +
                  (logarithmic ? "0 < low <= high" : "low <= high") + ", got " +
                  (two ? flow_text(node) : found_text(node)));
    }
    axis.low = *low;
    axis.high = *high;
    axis.whole = is_integer_key(axis.key);
    if (axis.whole && (*low != std::floor(*low) || *high != std::floor(*high))) {
      fail_at(node.place, path, axis.key + " is an integer; give its ends as integers");
    }
  }

  void read_when(const YamlEntry& entry) {
    const bool several = entry.value.kind == YamlNode::Kind::list;
    const std::vector<YamlNode> conditions =
        several ? entry.value.items : std::vector<YamlNode>{entry.value};
    for (const YamlNode& node : conditions) {
      if (node.kind != YamlNode::Kind::scalar) {
        fail_at(node.place, "when",
                "expected a condition such as inner.steps <= 5, got " + found_text(node));
      }
      spec_.when.push_back(condition(node));
    }
  }

  Condition condition(const YamlNode& node) const {
    Condition condition{node.text, node.place};
    const std::vector<std::string_view> lines = split(text_, '\n');
    const auto line = static_cast<std::size_t>(node.place.line - 1);
    const auto column = static_cast<std::size_t>(node.place.column - 1) + (node.quoted ? 1 : 0);
    if (line < lines.size() && column <= lines[line].size()) {
      condition.exact = lines[line].substr(column).starts_with(node.text);
    }
    if (condition.exact && node.quoted) ++condition.place.column;
    return condition;
  }

  void read_memory(const YamlEntry& entry) {
    spec_.memory_bytes = parse_memory(entry.value.text, usable_memory_bytes(),
                                      entry.value.place.text() + ": memory");
    spec_.memory = entry.value.text;
    std::erase(spec_.memory, ' ');
  }

  void check_one(std::set<std::string>& seen, const std::string& key,
                 const TextPlace& place) const {
    if (seen.insert(key).second) return;
    const bool seed = key == "seed" && spec_.seeds.has_value();
    fail_at(place, key,
            seed ? "is an axis beside seeds; keep one of the two"
                 : "is set or varied twice; write all its values into one axis");
  }

  // A key is varied by one block only.
  void check_unique() const {
    std::set<std::string> seen;
    if (spec_.seeds) seen.insert("seed");
    for (const Setting& setting : spec_.set) check_one(seen, setting.key, setting.place);
    for (const Axis& axis : spec_.grid) check_one(seen, axis.key, axis.place);
    for (const Axis& axis : spec_.zip) check_one(seen, axis.key, axis.place);
    std::set<std::string> listed;
    for (const auto& settings : spec_.list) {
      for (const Setting& setting : settings) {
        if (listed.insert(setting.key).second) check_one(seen, setting.key, setting.place);
      }
    }
    for (const RandomAxis& axis : spec_.random) check_one(seen, axis.key, axis.place);
    if (spec_.axes().empty()) {
      fail_at(root_.place, "",
              "nothing is varied; give grid, zip, list, random or seeds, or use mixflow train");
    }
  }

  const std::string text_;
  YamlNode root_;
  SweepSpec spec_;
};

std::string list_text(const std::vector<YamlNode>& values) {
  YamlNode list;
  list.kind = YamlNode::Kind::list;
  list.items = values;
  return flow_text(list);
}

std::string axes_text(const char* block, const std::vector<Axis>& axes) {
  std::string text;
  for (const Axis& axis : axes) text += "  " + axis.key + ": " + list_text(axis.values) + "\n";
  return text.empty() ? text : std::string(block) + ":\n" + text;
}

std::string settings_text(const std::vector<Setting>& settings) {
  std::vector<std::string> parts;
  for (const Setting& setting : settings) {
    parts.push_back(setting.key + ": " + flow_text(setting.value));
  }
  return "{" + join(parts, ", ") + "}";
}

std::string random_text(const RandomAxis& axis) {
  if (axis.kind == RandomAxis::Kind::choice) return "{choice: " + list_text(axis.choices) + "}";
  return std::string("{") + (axis.kind == RandomAxis::Kind::uniform ? "uniform" : "log_uniform") +
         ": [" + number_text(axis.low) + ", " + number_text(axis.high) + "]}";
}

}  // namespace

std::vector<std::string> SweepSpec::axes() const {
  std::vector<std::string> keys;
  for (const Axis& axis : grid) keys.push_back(axis.key);
  for (const Axis& axis : zip) keys.push_back(axis.key);
  for (const auto& settings : list) {
    for (const Setting& setting : settings) {
      if (std::ranges::find(keys, setting.key) == keys.end()) keys.push_back(setting.key);
    }
  }
  for (const RandomAxis& axis : random) keys.push_back(axis.key);
  if (seeds) keys.emplace_back("seed");
  return keys;
}

SweepSpec load_sweep(const std::string& path) {
  return SpecReader(path, read_document(path, kSweep)).read();
}

std::string spec_text(const SweepSpec& spec) {
  std::string text = "name: " + spec.name + "\n";
  if (!spec.set.empty()) text += "set: " + settings_text(spec.set) + "\n";
  text += axes_text("grid", spec.grid) + axes_text("zip", spec.zip);
  if (!spec.list.empty()) text += "list:\n";
  for (const auto& settings : spec.list) text += "  - " + settings_text(settings) + "\n";
  if (!spec.random.empty()) {
    text += "random:\n  samples: " + std::to_string(spec.samples) +
            "\n  seed: " + std::to_string(spec.random_seed) + "\n";
  }
  for (const RandomAxis& axis : spec.random) {
    text += "  " + axis.key + ": " + random_text(axis) + "\n";
  }
  if (spec.seeds) text += "seeds: " + list_text(spec.seeds->values) + "\n";
  for (const Condition& condition : spec.when) {
    text += (&condition == &spec.when.front() ? "when:\n  - " : "  - ") +
            in_quotes(condition.text, std::string::npos) + "\n";
  }
  if (!spec.memory.empty()) text += "memory: " + spec.memory + "\n";
  return text;
}

}  // namespace mixflow
