#include "report/report.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "report/escape.h"
#include "report/find_runs.h"
#include "report/page.h"
#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kNamedInMessages = 5;

bool counts(const RunRecord& run, bool all) {
  switch (run.state) {
    case RunState::finished:
    case RunState::planned:
      return true;
    case RunState::interrupted:
    case RunState::unfinished:
      return all && !run.values.empty();
    default:
      return false;
  }
}

std::string line_of(const RunRecord& run) {
  return run.name + ": " + std::string(name_of(run.state)) +
         (run.note.empty() ? "" : " (" + run.note + ")");
}

// The first few, and how many more.
std::string list_of(const std::vector<RunRecord>& runs) {
  std::string text;
  for (std::size_t i = 0; i < std::min(runs.size(), kNamedInMessages); ++i) {
    text += "\n  " + line_of(runs[i]);
  }
  if (runs.size() > kNamedInMessages) {
    text += "\n  and " + std::to_string(runs.size() - kNamedInMessages) + " more";
  }
  return text;
}

std::vector<std::string> names_of(const std::vector<const KeyColumn*>& keys) {
  std::vector<std::string> names;
  for (const KeyColumn* key : keys) names.push_back(key->name);
  return names;
}

// Keys of the rows where none are given: the axes that are not columns; of a single configuration
// its name.
std::vector<std::string> default_rows(const RunSet& runs, const std::vector<std::string>& cols) {
  std::vector<std::string> rows = names_of(runs.axes());
  std::erase_if(rows, [&](const std::string& name) {
    return std::ranges::any_of(
        cols, [&](const std::string& col) { return runs.find_key(col) == runs.find_key(name); });
  });
  if (!rows.empty()) return rows;
  for (const char* key : {"name", "config"}) {
    if (runs.find_key(key)) return {key};
  }
  return rows;
}

// Of runs with the same config and seed, reached in several places, the first counts: they are one
// sample, not several. Rows of bench and plan are measurements, and all count.
void leave_out_repeated(std::vector<RunRecord>& counted, std::vector<RunRecord>& left_out) {
  std::map<std::vector<std::pair<std::string, std::string>>, std::string> first;
  std::vector<RunRecord> kept;
  for (RunRecord& run : counted) {
    auto keys = run.keys;
    std::erase_if(keys, [](const auto& key) { return key.first == kNameKey; });
    const auto [known, is_new] = first.try_emplace(std::move(keys), run.name);
    if (is_new || run.directory.empty()) {
      kept.push_back(std::move(run));
    } else {
      run.note = "the same config and seed as " + known->second;
      left_out.push_back(std::move(run));
    }
  }
  counted = std::move(kept);
}

ReportData collect(const ReportOptions& options) {
  std::vector<RunRecord> counted, left_out;
  for (RunRecord& run : find_runs(options.paths)) {
    (counts(run, options.all) ? counted : left_out).push_back(std::move(run));
  }
  if (counted.empty()) {
    throw UserError("report: no run has finished" +
                    std::string(options.all ? "" : "; --all counts those that have got somewhere") +
                    ":" + list_of(left_out));
  }
  leave_out_repeated(counted, left_out);
  ReportData data{.runs = RunSet(std::move(counted)), .left_out = std::move(left_out)};
  Selection selection{.rows = options.rows,
                      .cols = options.cols,
                      .agg = options.agg,
                      .baseline = parse_baseline(options.baseline)};
  if (selection.rows.empty()) selection.rows = default_rows(data.runs, options.cols);
  const std::vector<std::string> values =
      options.values.empty() ? default_values(data.runs) : options.values;
  for (const std::string& value : values) {
    selection.values.push_back(value_column(data.runs, value));
  }
  data.pivot = pivot(data.runs, selection);
  data.values = std::move(selection.values);
  data.tables = tables_of(data.pivot);
  return data;
}

std::string markdown(const ReportData& data) {
  std::string text = markdown_escaped(count_text(data)) + ".\n";
  for (const ReportTable& table : data.tables) text += "\n" + to_markdown(table);
  if (data.left_out.empty()) return text;
  text += "\nNot counted:\n\n";
  for (const RunRecord& run : data.left_out) text += "- " + markdown_escaped(line_of(run)) + "\n";
  return text;
}

std::string latex(const ReportData& data) {
  std::string text = "% " + latex_escaped(count_text(data)) +
                     "\n% \\input this; it needs \\usepackage{booktabs}\n";
  for (const ReportTable& table : data.tables) text += "\n" + to_latex(table);
  for (const RunRecord& run : data.left_out)
    text += "% not counted: " + latex_escaped(line_of(run)) + "\n";
  return text;
}

std::string json(const ReportData& data) {
  Json runs = Json::array();
  const auto add = [&](const RunRecord& run, bool counted) {
    runs.push_back({{"name", run.name},
                    {"state", name_of(run.state)},
                    {"note", run.note.empty() ? Json(nullptr) : Json(run.note)},
                    {"counted", counted}});
  };
  for (std::size_t run = 0; run < data.runs.size(); ++run) add(data.runs.run(run), true);
  for (const RunRecord& run : data.left_out) add(run, false);
  Json object = {{"configurations", data.runs.num_configurations()},
                 {"axes", names_of(data.runs.axes())}};
  object["table"] = to_json(data.pivot);
  object["runs"] = std::move(runs);
  return object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string count_text(const ReportData& data) {
  std::map<RunState, std::size_t> states;
  for (std::size_t run = 0; run < data.runs.size(); ++run) ++states[data.runs.run(run).state];
  for (const RunRecord& run : data.left_out) ++states[run.state];
  const std::size_t total = data.runs.size() + data.left_out.size();
  const auto plural = [](std::size_t n, const std::string& word) {
    return std::to_string(n) + " " + word + (n == 1 ? "" : "s");
  };
  std::vector<std::string> parts;
  for (const auto& [state, count] : states) {
    parts.push_back(std::to_string(count) + " " + std::string(name_of(state)));
  }
  std::string text = plural(total, "run") + ": " + join(parts, ", ") + "; " +
                     plural(data.runs.num_configurations(), "configuration");
  if (data.runs.num_seeds() > 0) text += ", " + plural(data.runs.num_seeds(), "seed");
  for (const auto& [key, axis] : data.runs.followers()) {
    text += "; " + key + " differs with " + axis;
  }
  return text;
}

Report make_report(const ReportOptions& options) {
  const ReportData data = collect(options);
  Report report;
  if (!data.left_out.empty()) {
    report.warnings.push_back(std::to_string(data.left_out.size()) + " of " +
                              std::to_string(data.left_out.size() + data.runs.size()) +
                              " runs are not counted:" + list_of(data.left_out));
  }
  switch (options.format) {
    case ReportFormat::md:
      report.text = markdown(data);
      break;
    case ReportFormat::csv:
      report.text = to_csv(data.pivot);
      break;
    case ReportFormat::tex:
      report.text = latex(data);
      break;
    case ReportFormat::json:
      report.text = json(data);
      break;
    case ReportFormat::html:
      report.text = html_page(data, options, report.warnings);
      break;
  }
  return report;
}

}  // namespace mixflow
