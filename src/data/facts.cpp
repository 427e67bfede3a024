#include "data/facts.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr std::size_t kColumns = 80;

// Parts joined by ", " and broken into lines.
std::vector<std::string> wrapped(const std::string& first, const std::vector<std::string>& parts) {
  std::vector<std::string> lines{first};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string part = parts[i] + (i + 1 < parts.size() ? "," : "");
    if (i > 0 && lines.back().size() + 1 + part.size() > kColumns) lines.emplace_back(" ");
    lines.back() += " " + part;
  }
  return lines;
}

std::string class_text(const std::vector<DataFacts::Class>& classes) {
  const auto [least, most] = std::ranges::minmax_element(classes, {}, &DataFacts::Class::rows);
  const std::string count = std::to_string(classes.size()) + " classes of ";
  if (least->rows == most->rows) return count + std::to_string(least->rows);
  return count + std::to_string(least->rows) + " to " + std::to_string(most->rows);
}

std::string range_text(const DataFacts::Values& values) {
  return values.name + " from " + formatted("%.4g", values.smallest) + " to " +
         formatted("%.4g", values.largest);
}

}  // namespace

std::vector<std::string> to_lines(const DataFacts& facts) {
  if (facts.empty()) return {};
  std::vector<std::string> files, parts;
  constexpr std::size_t kMostFiles = 3;
  for (std::size_t i = 0; i < facts.files.size() && i < kMostFiles; ++i) {
    const std::string name = std::filesystem::path(facts.files[i].path).filename().string();
    const std::string shown = in_quotes(name, 40);
    files.push_back(shown.substr(1, shown.size() - 2) + " " + facts.files[i].content);
  }
  if (facts.files.size() > kMostFiles) {
    files.push_back(std::to_string(facts.files.size() - kMostFiles) + " more files");
  }
  for (const DataFacts::Split& split : facts.splits) {
    const bool last = &split == &facts.splits.back() || (&split)[1].unit != split.unit;
    parts.push_back(split.name + " " + std::to_string(split.count) +
                    (last ? " " + split.unit : ""));
  }
  if (!facts.classes.empty()) parts.push_back(class_text(facts.classes));
  for (const DataFacts::Values& values : facts.ranges) parts.push_back(range_text(values));
  std::vector<std::string> lines = wrapped("Data:", files);
  if (parts.empty()) return lines;
  for (std::string& line : wrapped(" ", parts)) lines.push_back(std::move(line));
  return lines;
}

std::string to_json(const DataFacts& facts) {
  OrderedJson json = OrderedJson::object();
  for (const auto& file : facts.files) {
    json["files"].push_back(
        {{"path", file.path}, {"content", file.content}, {"bytes", file.bytes}});
  }
  for (const auto& split : facts.splits) {
    json["splits"].push_back({{"name", split.name}, {"count", split.count}, {"unit", split.unit}});
  }
  for (const auto& one : facts.classes) {
    json["classes"].push_back({{"label", one.label}, {"rows", one.rows}});
  }
  for (const auto& values : facts.ranges) {
    json["ranges"].push_back(
        {{"name", values.name}, {"smallest", values.smallest}, {"largest", values.largest}});
  }
  if (!facts.notes.empty()) json["notes"] = facts.notes;
  if (!facts.warnings.empty()) json["warnings"] = facts.warnings;
  // Names of files and labels may be no UTF-8.
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace);
}

DataFacts parse_facts(const std::string& text) {
  const auto list = [](const OrderedJson& json, const char* key) {
    return json.value(key, OrderedJson(OrderedJson::array()));
  };
  try {
    const OrderedJson json = OrderedJson::parse(text);
    DataFacts facts;
    for (const OrderedJson& file : list(json, "files")) {
      facts.files.push_back({file.at("path"), file.at("content"), file.at("bytes")});
    }
    for (const OrderedJson& split : list(json, "splits")) {
      facts.splits.push_back({split.at("name"), split.at("count"), split.at("unit")});
    }
    for (const OrderedJson& one : list(json, "classes")) {
      facts.classes.push_back({one.at("label"), one.at("rows")});
    }
    for (const OrderedJson& values : list(json, "ranges")) {
      facts.ranges.push_back({values.at("name"), values.at("smallest"), values.at("largest")});
    }
    facts.notes = list(json, "notes").get<std::vector<std::string>>();
    facts.warnings = list(json, "warnings").get<std::vector<std::string>>();
    return facts;
  } catch (const nlohmann::json::exception& error) {
    throw UserError(std::string("not what was read of a data set: ") + error.what());
  }
}

}  // namespace mixflow
