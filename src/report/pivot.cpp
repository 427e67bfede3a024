#include "report/pivot.h"

#include <algorithm>
#include <map>

#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::size_t kMostCells = 4'000'000;

using Group = std::vector<int>;  // an index into the texts of each key

// The distinct combinations of some keys, in the order of their values.
struct Grouping {
  std::vector<const KeyColumn*> keys;
  std::vector<Group> groups;
  std::vector<std::size_t> of_run;
  std::map<Group, std::size_t> place;

  Grouping(const RunSet& runs, const std::vector<std::string>& names, std::string_view option) {
    for (const std::string& name : names) {
      keys.push_back(&runs.key(name, "report: " + std::string(option)));
    }
    for (std::size_t run = 0; run < runs.size(); ++run) place.emplace(group_of(run), 0);
    for (auto& [group, index] : place) {
      index = groups.size();
      groups.push_back(group);
    }
    for (std::size_t run = 0; run < runs.size(); ++run) of_run.push_back(place.at(group_of(run)));
  }

  Group group_of(std::size_t run) const {
    Group group;
    for (const KeyColumn* key : keys) group.push_back(key->index[run]);
    return group;
  }

  std::vector<std::vector<std::string>> labels() const {
    std::vector<std::vector<std::string>> all;
    for (const Group& group : groups) {
      std::vector<std::string>& label = all.emplace_back();
      for (std::size_t k = 0; k < keys.size(); ++k) {
        label.push_back(keys[k]->texts[static_cast<std::size_t>(group[k])]);
      }
    }
    return all;
  }

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const KeyColumn* key : keys) all.push_back(key->name);
    return all;
  }

  // For each group the one with the baseline's values; -1: there is none.
  std::vector<int> partners(const std::vector<std::pair<const KeyColumn*, int>>& baseline) const {
    std::vector<int> partner;
    for (Group group : groups) {
      for (std::size_t k = 0; k < keys.size(); ++k) {
        for (const auto& [key, index] : baseline) group[k] = keys[k] == key ? index : group[k];
      }
      const auto found = place.find(group);
      partner.push_back(found == place.end() ? -1 : static_cast<int>(found->second));
    }
    return partner;
  }
};

std::vector<std::pair<const KeyColumn*, int>> baseline_of(const RunSet& runs,
                                                          const Selection& selection,
                                                          const Grouping& rows,
                                                          const Grouping& cols) {
  std::vector<std::pair<const KeyColumn*, int>> baseline;
  for (const auto& [name, text] : selection.baseline) {
    const std::string where = "report: --baseline " + name + "=" + text;
    const KeyColumn* key = &runs.key(name, where);
    if (std::ranges::find(rows.keys, key) == rows.keys.end() &&
        std::ranges::find(cols.keys, key) == cols.keys.end()) {
      std::vector<std::string> names = rows.names();
      std::ranges::copy(cols.names(), std::back_inserter(names));
      throw UserError(where + ": expected one of the keys of rows and columns (" +
                      join(names, ", ") + ")");
    }
    const std::optional<double> number = number_of(text);
    const auto index =
        std::ranges::find_if(key->texts, [&, &text = text](const std::string& known) {
          return known == text || (number && number == number_of(known));
        });
    if (index == key->texts.end()) {
      throw UserError(where + ": no run has it; expected one of " + join(key->texts, ", "));
    }
    baseline.emplace_back(key, static_cast<int>(index - key->texts.begin()));
  }
  return baseline;
}

bool one_configuration(const RunSet& runs, const PivotCell& cell) {
  return std::ranges::all_of(cell.runs, [&](std::size_t run) {
    return runs.configuration(run) == runs.configuration(cell.runs.front());
  });
}

void fill(const RunSet& runs, const ValueColumn& values, Agg agg, PivotCell& cell) {
  std::vector<double> numbers;
  for (const std::size_t run : cell.runs) {
    if (values.of_run[run]) numbers.push_back(*values.of_run[run]);
  }
  cell.count = numbers.size();
  if (numbers.empty() && agg != Agg::count) return;
  cell.value = aggregate(agg, numbers);
  if (agg == Agg::mean && one_configuration(runs, cell)) cell.ci95 = ci95(numbers);
}

void add_ratios(const Grouping& rows, const Grouping& cols,
                const std::vector<std::pair<const KeyColumn*, int>>& baseline,
                std::vector<std::vector<PivotCell>>& cells) {
  const std::vector<int> row_partner = rows.partners(baseline);
  const std::vector<int> col_partner = cols.partners(baseline);
  for (std::size_t r = 0; r < cells.size(); ++r) {
    for (std::size_t c = 0; c < cells[r].size(); ++c) {
      cells[r][c].is_baseline =
          row_partner[r] == static_cast<int>(r) && col_partner[c] == static_cast<int>(c);
      if (row_partner[r] < 0 || col_partner[c] < 0 || !cells[r][c].value) continue;
      const PivotCell& base =
          cells[static_cast<std::size_t>(row_partner[r])][static_cast<std::size_t>(col_partner[c])];
      if (base.value && *base.value != 0) cells[r][c].ratio = *cells[r][c].value / *base.value;
    }
  }
}

}  // namespace

Pivot pivot(const RunSet& runs, const Selection& selection) {
  const Grouping rows(runs, selection.rows, "--rows"), cols(runs, selection.cols, "--cols");
  const auto baseline = baseline_of(runs, selection, rows, cols);
  const std::size_t size = rows.groups.size() * cols.groups.size();
  if (size * selection.values.size() > kMostCells) {
    throw UserError("report: a table of " + std::to_string(rows.groups.size()) + " rows and " +
                    std::to_string(cols.groups.size()) +
                    " columns is too large; choose keys with fewer values");
  }
  Pivot result{.row_keys = rows.names(),
               .col_keys = cols.names(),
               .agg = selection.agg,
               .has_baseline = !baseline.empty(),
               .row_labels = rows.labels(),
               .col_labels = cols.labels(),
               .row_runs = std::vector<std::size_t>(rows.groups.size(), 0)};
  std::vector<std::vector<PivotCell>> empty(rows.groups.size(),
                                            std::vector<PivotCell>(cols.groups.size()));
  for (std::size_t run = 0; run < runs.size(); ++run) {
    empty[rows.of_run[run]][cols.of_run[run]].runs.push_back(run);
    ++result.row_runs[rows.of_run[run]];
  }
  for (const auto& row : empty) {
    result.pooled_cells += static_cast<std::size_t>(std::ranges::count_if(
        row, [&](const PivotCell& cell) { return !one_configuration(runs, cell); }));
  }
  for (const ValueColumn& values : selection.values) {
    result.values.push_back(values.name);
    auto& cells = result.cells.emplace_back(empty);
    for (auto& row : cells) {
      for (PivotCell& cell : row) {
        if (!cell.runs.empty()) fill(runs, values, selection.agg, cell);
      }
    }
    if (result.has_baseline) add_ratios(rows, cols, baseline, cells);
  }
  return result;
}

std::vector<std::pair<std::string, std::string>> parse_baseline(
    const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, std::string>> baseline;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw UserError("report: --baseline " + text +
                      ": expected key=value, such as gradient.mode=reverse");
    }
    baseline.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return baseline;
}

}  // namespace mixflow
