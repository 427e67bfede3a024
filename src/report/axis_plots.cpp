// Values along the axes of the configs, and sorted ratios.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>

#include "report/plots.h"
#include "report/series.h"

namespace mixflow {
namespace {

constexpr std::size_t kMostAxes = 4;
constexpr std::size_t kMostLines = kPlotColors;
constexpr std::size_t kMostTicks = 7;
constexpr std::size_t kMostNamedTicks = 12;
constexpr std::size_t kMostMarks = 400;
constexpr std::size_t kLeastRatios = 3;

const std::vector<std::string> kReverse = {"gradient.mode=reverse"};

// The values asked for; else time and memory, as far as the runs have them.
std::vector<ValueColumn> plotted_values(const ReportData& data, const ReportOptions& options) {
  if (!options.values.empty()) return data.values;
  std::vector<ValueColumn> columns;
  const auto add_first = [&](std::initializer_list<const char*> names) {
    for (const char* name : names) {
      if (!data.runs.has_number(name)) continue;
      columns.push_back(value_column(data.runs, name));
      return;
    }
  };
  add_first({"dynamic_bytes"});
  add_first({"step_s", "predicted_s"});
  return columns;
}

std::vector<const KeyColumn*> x_axes(const RunSet& runs, const ReportOptions& options) {
  std::vector<std::string> asked = options.x;
  if (asked.empty()) asked.insert(asked.end(), options.cols.begin(), options.cols.end());
  if (options.x.empty()) asked.insert(asked.end(), options.rows.begin(), options.rows.end());
  std::vector<const KeyColumn*> axes;
  for (const std::string& name : asked) axes.push_back(&runs.key(name, "report: --x"));
  if (asked.empty()) {
    axes = runs.axes();
    std::stable_partition(axes.begin(), axes.end(),
                          [](const KeyColumn* axis) { return axis->numeric; });
    axes.resize(std::min(axes.size(), kMostAxes));
  }
  std::erase_if(axes, [](const KeyColumn* axis) { return axis->texts.size() < 2; });
  return axes;
}

// The key whose values are the lines, or null: of those asked for, else gradient.mode, else the
// axis with the fewest values.
const KeyColumn* line_key(const RunSet& runs, const ReportOptions& options, const KeyColumn& x) {
  const auto fits = [&](const KeyColumn* key) {
    return key != nullptr && key != &x && key->texts.size() > 1 && key->texts.size() <= kMostLines;
  };
  for (const auto* asked : {&options.rows, &options.cols}) {
    for (const std::string& name : *asked) {
      if (fits(runs.find_key(name))) return runs.find_key(name);
    }
  }
  if (fits(runs.find_key("gradient.mode"))) return runs.find_key("gradient.mode");
  const KeyColumn* best = nullptr;
  for (const KeyColumn* axis : runs.axes()) {
    if (fits(axis) && (best == nullptr || axis->texts.size() < best->texts.size())) best = axis;
  }
  return best;
}

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

PlotAxis axis_of(const KeyColumn& key) {
  PlotAxis axis{.label = key.name};
  const std::size_t n = key.texts.size();
  if (!key.numeric) {
    axis.low = -0.4;
    axis.high = static_cast<double>(n) - 0.6;
    const std::size_t stride = (n + kMostNamedTicks - 1) / kMostNamedTicks;
    for (std::size_t i = 0; i < n; i += stride) {
      axis.ticks.emplace_back(static_cast<double>(i), key.texts[i]);
    }
    return axis;
  }
  const double low = key.number(0), high = key.number(n - 1);
  axis.log = low > 0 && high >= 8 * low;
  const double margin = axis.log ? std::pow(high / low, 0.04) : 0.04 * (high - low);
  axis.low = axis.log ? low / margin : low - margin;
  axis.high = axis.log ? high * margin : high + margin;
  if (n <= kMostTicks) {
    for (std::size_t i = 0; i < n; ++i) {
      axis.ticks.emplace_back(key.number(i), short_number(key.number(i)));
    }
  }
  return axis;
}

double position(const KeyColumn& key, std::size_t text) {
  return key.numeric ? key.number(text) : static_cast<double>(text);
}

Plot axis_plot(const KeyColumn& x, const KeyColumn* by, const ValueColumn& values) {
  std::map<int, std::map<int, std::vector<double>>> groups;  // by line and place along x
  for (std::size_t run = 0; run < values.of_run.size(); ++run) {
    const std::optional<double> value = values.of_run[run];
    if (!value || !std::isfinite(*value) || x.text(run) == kAbsent) continue;
    groups[by ? by->index[run] : 0][x.index[run]].push_back(*value);
  }
  Plot plot{.title = values.name + " by " + x.name,
            .note = "Medians over everything else",
            .kind = x.numeric ? PlotKind::points : PlotKind::dots,
            .x = axis_of(x),
            .y = {.label = values.name}};
  for (const auto& [line_index, places] : groups) {
    PlotLine line{.label = by ? by->name + "=" + by->texts[static_cast<std::size_t>(line_index)]
                              : values.name};
    for (const auto& [place, numbers] : places) {
      line.x.push_back(position(x, static_cast<std::size_t>(place)));
      line.y.push_back(*aggregate(Agg::median, numbers));
    }
    if (line.x.size() > 60) plot.kind = PlotKind::dots;
    plot.lines.push_back(std::move(line));
  }
  scale_y(plot, values.name);
  use_log_y(plot, 20);
  if (!plot.y.log) plot.y.low = 0;
  for (const PlotLine& line : plot.lines) {
    if (!plot.y.log && std::ranges::any_of(line.y, [](double y) { return y < 0; })) {
      plot.y.low = NAN;
    }
  }
  return plot;
}

// The axis reaches from the data to the level that they are compared with.
void show_reference(Plot& plot) {
  double low = *plot.reference, high = *plot.reference;
  for (const PlotLine& line : plot.lines) {
    for (const double y : line.y) {
      low = std::min(low, y);
      high = std::max(high, y);
    }
  }
  const double margin = 0.05 * (high - low) + 1e-3 * high;
  plot.y.low = low - margin;
  plot.y.high = high + margin;
}

// `note`: what is divided by what.
Plot ratio_plot(const std::string& value, const std::string& baseline, const std::string& note,
                std::map<std::string, std::vector<double>> ratios) {
  Plot plot{.title = value + " ÷ " + baseline + ", sorted",
            .note = note + "; medians over seeds",
            .x = {.label = "share of the configurations, %", .low = 0, .high = 100},
            .y = {.label = "ratio"},
            .reference = 1};
  for (auto& [label, sorted] : ratios) {
    if (sorted.size() < kLeastRatios) continue;
    std::ranges::sort(sorted);
    PlotLine line{.label = label + ", " + std::to_string(sorted.size()) + " configurations"};
    for (const std::size_t i : thinned(sorted, kMostMarks)) {
      line.x.push_back(100 * static_cast<double>(i) / static_cast<double>(sorted.size() - 1));
      line.y.push_back(sorted[i]);
    }
    plot.lines.push_back(std::move(line));
  }
  use_log_y(plot, 20);
  if (!plot.y.log) show_reference(plot);
  return plot;
}

// Ratios between groups of configurations, by what each group has instead of the baseline.
std::map<std::string, std::vector<double>> ratios_to(const RunSet& runs, const ValueColumn& values,
                                                     const std::vector<std::string>& baseline) {
  Selection selection{.values = {values}, .agg = Agg::median, .baseline = parse_baseline(baseline)};
  for (const auto& [key, text] : selection.baseline) selection.cols.push_back(key);
  for (const KeyColumn* axis : runs.axes()) {
    const bool is_col = std::ranges::any_of(
        selection.cols, [&](const std::string& name) { return runs.find_key(name) == axis; });
    if (!is_col) selection.rows.push_back(axis->name);
  }
  const Pivot table = pivot(runs, selection);
  std::map<std::string, std::vector<double>> ratios;
  for (const auto& row : table.cells[0]) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      if (row[c].is_baseline || !row[c].ratio || !std::isfinite(*row[c].ratio)) continue;
      std::string label;
      for (std::size_t k = 0; k < table.col_keys.size(); ++k) {
        label += (k > 0 ? ", " : "") + table.col_keys[k] + "=" + table.col_labels[c][k];
      }
      ratios[label].push_back(*row[c].ratio);
    }
  }
  return ratios;
}

bool has_reverse(const RunSet& runs) {
  const KeyColumn* modes = runs.find_key("gradient.mode");
  return modes != nullptr && modes->texts.size() > 1 &&
         std::ranges::find(modes->texts, "reverse") != modes->texts.end();
}

// Dynamic memory over what the same run says mode reverse would need.
std::map<std::string, std::vector<double>> ratios_to_planned_reverse(const RunSet& runs) {
  std::vector<std::vector<double>> of(runs.num_configurations());
  for (std::size_t run = 0; run < runs.size(); ++run) {
    const auto own = runs.run(run).value("dynamic_bytes");
    const auto reverse = runs.run(run).value("reverse_dynamic_bytes");
    if (own && std::isfinite(*own) && reverse && *reverse > 0) {
      of[static_cast<std::size_t>(runs.configuration(run))].push_back(*own / *reverse);
    }
  }
  std::map<std::string, std::vector<double>> ratios;
  for (const std::vector<double>& values : of) {
    if (!values.empty()) ratios["as configured"].push_back(*aggregate(Agg::median, values));
  }
  return ratios;
}

}  // namespace

std::vector<Plot> axis_plots(const ReportData& data, const ReportOptions& options) {
  const RunSet& runs = data.runs;
  std::vector<Plot> plots;
  const std::vector<ValueColumn> columns = plotted_values(data, options);
  for (const KeyColumn* x : x_axes(runs, options)) {
    for (const ValueColumn& values : columns) {
      Plot plot = axis_plot(*x, line_key(runs, options, *x), values);
      if (!plot.lines.empty()) plots.push_back(std::move(plot));
    }
  }
  return plots;
}

std::vector<Plot> ratio_plots(const ReportData& data, const ReportOptions& options) {
  const RunSet& runs = data.runs;
  std::vector<Plot> plots;
  const auto add = [&](Plot plot) {
    if (!plot.lines.empty()) plots.push_back(std::move(plot));
  };
  if (options.baseline.empty() && !has_reverse(runs)) {
    add(ratio_plot("dynamic_bytes", "that planned for mode reverse",
                   "Every configuration over its own plan in mode reverse",
                   ratios_to_planned_reverse(runs)));
    return plots;
  }
  const std::vector<std::string>& baseline = options.baseline.empty() ? kReverse : options.baseline;
  std::string name;
  for (const std::string& part : baseline) name += (name.empty() ? "" : ", ") + part;
  for (const ValueColumn& values : plotted_values(data, options)) {
    add(ratio_plot(values.name, "that of " + name,
                   "Every configuration over the one that differs in the baseline alone",
                   ratios_to(runs, values, baseline)));
  }
  return plots;
}

}  // namespace mixflow
