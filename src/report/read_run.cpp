#include "report/read_run.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "config/yaml.h"
#include "report/series.h"
#include "util/error.h"
#include "util/file.h"
#include "util/text.h"

namespace mixflow {
namespace {

using Json = nlohmann::ordered_json;  // as written, so that columns come in that order
namespace fs = std::filesystem;
using KeyTexts = std::vector<std::pair<std::string, std::string>>;
using Numbers = std::vector<std::pair<std::string, double>>;

// A scalar, or a list of scalars in flow style; false for what has keys inside.
bool plain_text(const YamlNode& node, std::string& text) {
  if (node.kind == YamlNode::Kind::map) return false;
  if (node.kind == YamlNode::Kind::null) {
    text += "null";
  } else if (node.kind == YamlNode::Kind::scalar) {
    text += node.text;
  } else {
    text += '[';
    for (const YamlNode& item : node.items) {
      if (&item != node.items.data()) text += ", ";
      if (!plain_text(item, text)) return false;
    }
    text += ']';
  }
  return true;
}

void flatten(const YamlNode& node, const std::string& path, KeyTexts& out) {
  std::string text;
  if (plain_text(node, text)) {
    out.emplace_back(path, std::move(text));
    return;
  }
  for (const YamlEntry& entry : node.entries)
    flatten(entry.value, child_path(path, entry.key), out);
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    flatten(node.items[i], item_path(path, i), out);
  }
}

bool is_number(const Json& json) { return json.is_number() || json.is_null(); }

// {"points": [{"inner_steps": 5, "loss": 1}]} -> <name>.loss_after_5
void flatten_evaluation(const std::string& name, const Json& json, Numbers& out) {
  for (const auto& [key, value] : evaluation_numbers(json))
    out.emplace_back(name + "." + key, value);
}

Numbers summary_numbers(const Json& json) {
  Numbers numbers;
  for (const auto& [key, value] : json.items()) {
    // Evaluations that were not made are null.
    if (value.is_null() && (key == "eval_after" || key == "best")) continue;
    if (is_number(value)) {
      numbers.emplace_back(key, number_or_nan(value));
    } else if (value.is_object() && value.contains("points")) {
      flatten_evaluation(key, value, numbers);
    }
  }
  return numbers;
}

// eval_after.loss_after_T for eval_after.loss_after_5 where inner.steps is 5: what runs with
// different numbers of inner steps have in common.
void add_after_own_steps(RunRecord& run) {
  const auto steps =
      std::ranges::find(run.keys, std::string("inner.steps"), &KeyTexts::value_type::first);
  if (steps == run.keys.end()) return;
  const std::string end = "_after_" + steps->second;
  Numbers own;
  for (const auto& [name, value] : run.values) {
    if (name.ends_with(end)) {
      own.emplace_back(name.substr(0, name.size() - steps->second.size()) + "T", value);
    }
  }
  run.values.insert(run.values.end(), own.begin(), own.end());
}

// What the last line of log.txt says, if it is of an error: "2026-11-25 08:34:46 error: ..".
std::string logged_error(const fs::path& directory) {
  std::error_code ignored;
  if (!fs::exists(directory / "log.txt", ignored)) return {};
  std::string text = read_text(directory / "log.txt");
  while (text.ends_with('\n')) text.pop_back();
  const std::string line = text.substr(text.rfind('\n') + 1);
  constexpr std::string_view kError = " error: ";
  const std::size_t at = line.find(kError);
  return at == std::string::npos ? "" : line.substr(at + kError.size());
}

void read_summary(const fs::path& directory, RunRecord& run) {
  const fs::path path = directory / "summary.json";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    run.state = RunState::unfinished;
    run.values = last_metrics(directory);
    const std::optional<double> step = run.value("step");
    run.note = step ? "no summary.json; metrics end at meta-step " + number_text(*step)
                    : "no summary.json and no metrics";
    if (std::string error = logged_error(directory); !error.empty()) {
      run.state = RunState::failed;
      run.note = std::move(error);
    }
    return;
  }
  const Json json = Json::parse(read_text(path));
  run.values = summary_numbers(json);
  if (!json.at("interrupted").get<bool>()) return;
  run.state = RunState::interrupted;
  run.note = "interrupted after meta-step " + std::to_string(json.at("steps").get<std::int64_t>());
}

void add_number(const Json& row, const char* key, const std::string& name, Numbers& out) {
  const auto found = row.find(key);
  if (found != row.end() && found->is_number()) out.emplace_back(name, found->get<double>());
}

// The values that --over set, by the same keys as in a run's config: one with keys inside,
// gradient={mode: reverse}, becomes gradient.mode.
KeyTexts row_keys(const std::string& name, const std::string& config, const Json& row) {
  KeyTexts keys = {{"config", config}};
  for (const auto& [key, value] : row.at("settings").items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    flatten(parse_value(text, {std::make_shared<const std::string>(name)}, key), key, keys);
  }
  const auto add_missing = [&](const std::string& key, const std::string& text) {
    if (std::ranges::find(keys, key, &KeyTexts::value_type::first) == keys.end()) {
      keys.emplace_back(key, text);
    }
  };
  add_missing("gradient.mode", row.at("mode").get<std::string>());
  add_missing("threads", row.at("threads").dump());
  return keys;
}

RunRecord row_record(const std::string& name, const std::string& config, const Json& row) {
  RunRecord run{.name = name, .keys = row_keys(name, config, row), .config = config};
  for (const char* key :
       {"parameters", "static_bytes", "dynamic_bytes", "reverse_dynamic_bytes", "flop",
        "model_flop", "nodes", "predicted_s", "plan_s", "arena_peak_bytes", "rss_bytes", "gflops",
        "mfu", "time_ratio", "memory_ratio", "steps_per_rep"}) {
    add_number(row, key, key, run.values);
  }
  if (const auto step = row.find("step_s"); step != row.end() && step->is_object()) {
    add_number(*step, "median", "step_s", run.values);
    add_number(*step, "min", "step_s.min", run.values);
    add_number(*step, "max", "step_s.max", run.values);
  }
  if (!row.value("measured", true)) {
    run.state = RunState::planned;
    run.note = row.at("reason").is_string() ? row.at("reason").get<std::string>() : "not measured";
  }
  return run;
}

// What a JSON library says, without its name and numbers: "[json.exception..] ..".
std::string reason(const Json::exception& error) {
  const std::string text = error.what();
  const std::size_t end = text.find("] ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

}  // namespace

std::string_view name_of(RunState state) {
  switch (state) {
    case RunState::finished:
      return "finished";
    case RunState::planned:
      return "planned only";
    case RunState::interrupted:
      return "interrupted";
    case RunState::unfinished:
      return "unfinished";
    case RunState::failed:
      return "failed";
    case RunState::unreadable:
      return "unreadable";
  }
  return "";
}

std::optional<double> RunRecord::value(std::string_view value_name) const {
  for (const auto& [name_of_value, number] : values) {
    if (name_of_value == value_name) return number;
  }
  return std::nullopt;
}

KeyTexts flat_config(const std::string& text, const std::string& file) {
  KeyTexts keys;
  for (const YamlEntry& entry : parse_document(text, file).entries) {
    flatten(entry.value, entry.key, keys);
  }
  return keys;
}

RunRecord read_run(const fs::path& directory, const std::string& name) {
  RunRecord run{.name = name, .directory = directory};
  const std::string config = (directory / "config.yaml").string();
  try {
    run.keys = flat_config(read_text(config), config);
    read_summary(directory, run);
    add_after_own_steps(run);
  } catch (const Json::exception& error) {
    run.state = RunState::unreadable;
    run.note = "summary.json: " + reason(error);
  } catch (const std::runtime_error& error) {  // UserError, RunError
    run.state = RunState::unreadable;
    run.note = error.what();
  }
  return run;
}

ResultRows read_rows(const fs::path& file) {
  const Json json = Json::parse(read_text(file), nullptr, false);
  if (!json.is_object()) return {};
  const bool bench = json.contains("rows") && json.contains("machine") && json.contains("config");
  if (!bench && !(json.contains("plans") && json.contains("matmul_gflops"))) return {};
  ResultRows result{.is_result = true};
  try {
    for (const Json& row : json.at(bench ? "rows" : "plans")) {
      const std::string name = file.string() + ", row " + std::to_string(result.records.size() + 1);
      const std::string config = (bench ? json : row).at("config").get<std::string>();
      result.records.push_back(row_record(name, config, row));
    }
  } catch (const Json::exception& error) {
    throw UserError(file.string() +
                    ": not what `mixflow bench --json` or `plan --json` prints: " + reason(error));
  }
  return result;
}

}  // namespace mixflow
