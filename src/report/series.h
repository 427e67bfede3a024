// The curves of a run: metrics.jsonl and eval.jsonl, a line per logged meta-step or evaluation.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mixflow {

// Values by meta-step, in the order of the file; NaN where the file has null.
struct Series {
  std::vector<double> step, value;
};

// Every series of the run whose name is in `wanted`: keys of metrics.jsonl (meta_loss, ..) and
// <split>.loss_after_<inner steps>, <split>.accuracy_after_<inner steps>, <split>.state_loss of
// eval.jsonl. Files that are missing hold none; a last line that is cut short is left out, other
// broken lines are UserErrors.
std::map<std::string, Series> read_series(const std::filesystem::path& directory,
                                          const std::set<std::string>& wanted);

// Names of all series that the first lines of its files have.
std::vector<std::string> series_names(const std::filesystem::path& directory);

// Names and numbers of the last whole line of metrics.jsonl; only the end of the file is read.
std::vector<std::pair<std::string, double>> last_metrics(const std::filesystem::path& directory);

// NaN for null. Json::exception for anything that is no number.
double number_or_nan(const nlohmann::ordered_json& json);

// One evaluation as names and numbers: loss_after_5, loss_ci95_after_5, accuracy_after_5, ..
std::vector<std::pair<std::string, double>> evaluation_numbers(
    const nlohmann::ordered_json& evaluation);

// first, last, min, max or mean of the finite values; the last one as it is. Nothing for an empty
// series.
inline constexpr std::string_view kSeriesStats[] = {"last", "first", "min", "max", "mean"};
std::optional<double> stat_of(const Series& series, std::string_view stat);

// Indices, ascending, of at most `most` (> 3) points that keep the shape: the first, the last, and
// of each of most / 2 - 1 equal stretches the lowest and the highest. All of them where there are
// no more than `most`.
std::vector<std::size_t> thinned(const std::vector<double>& values, std::size_t most);

}  // namespace mixflow
