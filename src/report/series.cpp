#include "report/series.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

#include "util/error.h"
#include "util/file.h"

namespace mixflow {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;
using Numbers = std::vector<std::pair<std::string, double>>;

Numbers metrics_numbers(const Json& line) {
  Numbers numbers;
  for (const auto& [key, value] : line.items()) {
    if (value.is_number() || value.is_null()) numbers.emplace_back(key, number_or_nan(value));
  }
  return numbers;
}

Numbers evaluation_line(const Json& line) {
  const std::string split = line.at("split").get<std::string>() + ".";
  Numbers numbers = evaluation_numbers(line);
  for (auto& [name, value] : numbers) name.insert(0, split);
  numbers.emplace_back("step", number_or_nan(line.at("step")));
  return numbers;
}

// Calls `use` with the numbers of each line.
template <class Parse, class Use>
void each_line(const fs::path& path, const Parse& parse, const Use& use) {
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return;
  const std::string text = read_text(path);
  std::size_t line = 1;
  for (std::size_t begin = 0; begin < text.size(); ++line) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string::npos) return;  // cut short: the run is going on, or was killed
    try {
      use(parse(Json::parse(text.data() + begin, text.data() + end)));
    } catch (const Json::exception& error) {
      throw UserError(path.string() + ":" + std::to_string(line) +
                      ": not a line that mixflow writes: " + error.what());
    }
    begin = end + 1;
  }
}

}  // namespace

double number_or_nan(const Json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

Numbers evaluation_numbers(const Json& evaluation) {
  Numbers numbers;
  for (const Json& point : evaluation.at("points")) {
    const std::string after =
        "_after_" + std::to_string(point.at("inner_steps").get<std::int64_t>());
    for (const auto& [key, value] : point.items()) {
      if (key != "inner_steps") numbers.emplace_back(key + after, number_or_nan(value));
    }
  }
  if (const auto state = evaluation.find("state_loss"); state != evaluation.end()) {
    numbers.emplace_back("state_loss", number_or_nan(*state));
  }
  return numbers;
}

std::map<std::string, Series> read_series(const fs::path& directory,
                                          const std::set<std::string>& wanted) {
  std::map<std::string, Series> all;
  const auto add = [&](const Numbers& numbers) {
    double step = std::numeric_limits<double>::quiet_NaN();
    for (const auto& [name, value] : numbers) {
      if (name == "step") step = value;
    }
    for (const auto& [name, value] : numbers) {
      if (!wanted.contains(name)) continue;
      Series& series = all[name];
      series.step.push_back(step);
      series.value.push_back(value);
    }
  };
  const bool evaluations = std::ranges::any_of(
      wanted, [](const std::string& name) { return name.find('.') != std::string::npos; });
  const bool metrics = std::ranges::any_of(
      wanted, [](const std::string& name) { return name.find('.') == std::string::npos; });
  if (metrics) each_line(directory / "metrics.jsonl", metrics_numbers, add);
  if (evaluations) each_line(directory / "eval.jsonl", evaluation_line, add);
  return all;
}

std::vector<std::string> series_names(const fs::path& directory) {
  std::vector<std::string> names;
  const auto add = [&](const Numbers& numbers) {
    for (const auto& [name, value] : numbers) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  };
  add(last_metrics(directory));
  each_line(directory / "eval.jsonl", evaluation_line, add);
  return names;
}

Numbers last_metrics(const fs::path& directory) {
  constexpr std::int64_t kTail = 4096;  // several lines
  const fs::path path = directory / "metrics.jsonl";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return {};
  const InputFile file(path);
  std::string tail(static_cast<std::size_t>(std::min(file.bytes(), kTail)), '\0');
  tail.resize(
      file.read_some(file.bytes() - std::ssize(tail), std::as_writable_bytes(std::span(tail))));
  const std::size_t end = tail.rfind('\n');
  if (end == std::string::npos || end == 0) return {};
  const std::size_t before = tail.rfind('\n', end - 1);
  const std::size_t begin = before == std::string::npos ? 0 : before + 1;
  const Json line = Json::parse(tail.substr(begin, end - begin), nullptr, false);
  return line.is_object() ? metrics_numbers(line) : Numbers{};
}

std::optional<double> stat_of(const Series& series, std::string_view stat) {
  if (series.value.empty()) return std::nullopt;
  if (stat == "last") return series.value.back();
  if (stat == "first") return series.value.front();
  std::vector<double> finite;
  std::ranges::copy_if(series.value, std::back_inserter(finite),
                       [](double x) { return std::isfinite(x); });
  if (finite.empty()) return std::numeric_limits<double>::quiet_NaN();
  if (stat == "min") return std::ranges::min(finite);
  if (stat == "max") return std::ranges::max(finite);
  double sum = 0;
  for (const double x : finite) sum += x;
  return sum / static_cast<double>(finite.size());
}

std::vector<std::size_t> thinned(const std::vector<double>& values, std::size_t most) {
  std::vector<std::size_t> kept;
  const std::size_t stretches = most / 2 - 1;
  if (values.size() <= most) {
    for (std::size_t i = 0; i < values.size(); ++i) kept.push_back(i);
    return kept;
  }
  for (std::size_t s = 0; s < stretches; ++s) {
    const std::size_t begin = s * values.size() / stretches;
    const std::size_t end = (s + 1) * values.size() / stretches;
    std::size_t low = begin, high = begin;
    for (std::size_t i = begin; i < end; ++i) {
      if (std::isnan(values[i])) continue;
      if (std::isnan(values[low]) || values[i] < values[low]) low = i;
      if (std::isnan(values[high]) || values[i] > values[high]) high = i;
    }
    kept.push_back(std::min(low, high));
    if (low != high) kept.push_back(std::max(low, high));
  }
  if (kept.front() != 0) kept.insert(kept.begin(), 0);
  if (kept.back() != values.size() - 1) kept.push_back(values.size() - 1);
  return kept;
}

}  // namespace mixflow
