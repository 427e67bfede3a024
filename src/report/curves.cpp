// Learning curves.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "report/plots.h"
#include "report/series.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr std::size_t kMostCurves = 8;
constexpr std::size_t kMostBands = 4;  // more hide each other
constexpr std::size_t kMostSeeds = 20;
constexpr std::size_t kMostSteps = 400;

struct Configuration {
  std::vector<std::size_t> runs;
  std::string label;
  double final_loss = INFINITY;  // mean over its runs
};

std::string label_of(const RunSet& runs, std::size_t run) {
  std::vector<std::string> names, words;
  for (const KeyColumn* axis : runs.axes()) names.push_back(axis->name);
  const std::vector<std::string> shorts = short_names(names);
  for (std::size_t a = 0; a < names.size(); ++a) {
    words.push_back(shorts[a] + "=" + runs.axes()[a]->text(run));
  }
  const KeyColumn* name = runs.find_key(kNameKey);
  if (words.empty() && name != nullptr) {
    words.push_back(name->texts.front() + (name->texts.size() > 1 ? ", .." : ""));
  }
  return join(words, ", ");
}

// Those that have curves: the ones with the lowest final meta-loss, in the order of the table.
std::vector<Configuration> chosen(const RunSet& runs, std::size_t& with_curves) {
  std::vector<Configuration> all(runs.num_configurations());
  for (std::size_t run = 0; run < runs.size(); ++run) {
    if (!runs.run(run).directory.empty()) {
      all[static_cast<std::size_t>(runs.configuration(run))].runs.push_back(run);
    }
  }
  std::erase_if(all, [](const Configuration& c) { return c.runs.empty(); });
  with_curves = all.size();
  for (Configuration& c : all) {
    double sum = 0;
    for (const std::size_t run : c.runs) {
      const RunRecord& record = runs.run(run);
      const auto loss = record.value("meta_loss_last");
      sum += loss ? *loss : record.value("meta_loss").value_or(INFINITY);
    }
    c.final_loss = std::isnan(sum) ? INFINITY : sum / static_cast<double>(c.runs.size());
  }
  std::ranges::stable_sort(all, {}, &Configuration::final_loss);
  all.resize(std::min(all.size(), kMostCurves));
  std::ranges::sort(all, {}, [&](const Configuration& c) {
    std::vector<int> place;
    for (const KeyColumn* axis : runs.axes()) place.push_back(axis->index[c.runs.front()]);
    return place;
  });
  for (Configuration& c : all) {
    c.label = label_of(runs, c.runs.front());
    c.runs.resize(std::min(c.runs.size(), kMostSeeds));
  }
  return all;
}

// The held-out loss after the most inner steps, of the split that was watched along the way.
std::string held_out_name(const RunRecord& run) {
  std::string best;
  double most = -1;
  for (const std::string& name : series_names(run.directory)) {
    for (const char* start : {"validation.loss_after_", "test.loss_after_"}) {
      if (!name.starts_with(start)) continue;
      const double steps = number_of(name.substr(std::string_view(start).size())).value_or(-1);
      // Validation comes first where both are there.
      if (best.starts_with("validation") && !name.starts_with("validation")) continue;
      if (!best.starts_with("validation") && name.starts_with("validation")) most = -1;
      if (steps <= most) continue;
      best = name;
      most = steps;
    }
  }
  return best;
}

// Means over the runs at the meta-steps that all of them have.
PlotLine mean_curve(const std::string& label, const std::vector<Series>& of_runs) {
  std::map<double, std::vector<double>> by_step;
  for (const Series& series : of_runs) {
    for (std::size_t i = 0; i < series.step.size(); ++i) {
      by_step[series.step[i]].push_back(series.value[i]);
    }
  }
  std::erase_if(by_step, [&](const auto& entry) { return entry.second.size() < of_runs.size(); });
  std::vector<double> steps, means, halves;
  for (const auto& [step, values] : by_step) {
    steps.push_back(step);
    means.push_back(aggregate(Agg::mean, values).value_or(NAN));
    halves.push_back(ci95(values).value_or(0));
  }
  PlotLine line{.label = label};
  for (const std::size_t i : thinned(means, kMostSteps)) {
    line.x.push_back(steps[i]);
    line.y.push_back(means[i]);
    if (of_runs.size() < 2) continue;
    line.low.push_back(means[i] - halves[i]);
    line.high.push_back(means[i] + halves[i]);
  }
  return line;
}

// On a logarithmic axis a band that reaches below zero ends at the lowest mean.
void clip_bands(Plot& plot) {
  double lowest = INFINITY;
  for (const PlotLine& line : plot.lines) {
    for (const double y : line.y) lowest = y > 0 ? std::min(lowest, y) : lowest;
  }
  for (PlotLine& line : plot.lines) {
    for (double& low : line.low) low = std::max(low, lowest);
  }
}

bool positive(const Plot& plot) {
  return std::ranges::all_of(plot.lines, [](const PlotLine& line) {
    return std::ranges::all_of(line.y, [](double y) { return y > 0; });
  });
}

}  // namespace

std::vector<Plot> curve_plots(const RunSet& runs) {
  std::size_t with_curves = 0;
  const std::vector<Configuration> configurations = chosen(runs, with_curves);
  std::vector<Plot> plots;
  if (configurations.empty()) return plots;
  const std::string held_out = held_out_name(runs.run(configurations.front().runs.front()));
  const bool bands = configurations.size() <= kMostBands;
  std::string note = "Means over seeds" + std::string(bands ? " with their 95 % intervals" : "") +
                     "; of more than " + std::to_string(kMostSteps) +
                     " points, the lowest and the highest of equal stretches";
  if (with_curves > configurations.size()) {
    note = std::to_string(configurations.size()) + " of " + std::to_string(with_curves) +
           " configurations, those with the lowest meta-loss at the end. " + note;
  }
  std::set<std::string> names{"meta_loss"};
  if (!held_out.empty()) names.insert(held_out);
  std::map<std::string, std::vector<std::vector<Series>>> all;  // by name, configuration and run
  for (const std::string& name : names) all[name].resize(configurations.size());
  for (std::size_t c = 0; c < configurations.size(); ++c) {
    for (const std::size_t run : configurations[c].runs) {
      for (auto& [name, series] : read_series(runs.run(run).directory, names)) {
        all[name][c].push_back(std::move(series));
      }
    }
  }
  for (const auto& [name, of_configurations] : all) {
    Plot plot{.title = name + " by meta-step", .note = note};
    for (std::size_t c = 0; c < configurations.size(); ++c) {
      PlotLine line = mean_curve(configurations[c].label, of_configurations[c]);
      line.color = static_cast<int>(c);
      if (!bands) line.low = line.high = {};
      if (line.x.size() > 1) plot.lines.push_back(std::move(line));
    }
    drop_empty_lines(plot);
    if (plot.lines.empty()) continue;
    plot.x.label = "meta-step";
    plot.y.label = name;
    if (positive(plot)) {
      Plot on_log = plot;
      clip_bands(on_log);
      use_log_y(on_log, 10);
      if (on_log.y.log) plot = std::move(on_log);
    }
    plots.push_back(std::move(plot));
  }
  return plots;
}

}  // namespace mixflow
