#include "report/timeline.h"

#include <algorithm>
#include <limits>

#include "config/load.h"
#include "data/source.h"
#include "meta/experiment.h"
#include "plan/lower.h"
#include "train/baseline.h"
#include "train/planned.h"
#include "train/progress.h"
#include "train/stage_run.h"
#include "util/error.h"

namespace mixflow {
namespace {

constexpr std::size_t kMostSpansOfBody = 256;  // before a loop repeats them
constexpr std::size_t kMostSpans = 400;        // in a plot
constexpr std::int64_t kMostIterations = 64;   // more are drawn as so many, each longer

// Neighbours of one phase in groups, of each the lowest and the highest.
std::vector<TimelineSpan> thinned_spans(const std::vector<TimelineSpan>& spans, std::size_t most) {
  if (spans.size() <= most) return spans;
  const std::size_t group = 2 * spans.size() / most + 1;
  std::vector<TimelineSpan> kept;
  for (std::size_t begin = 0; begin < spans.size();) {
    std::size_t end = begin, low = begin, high = begin;
    double flop = 0;
    for (; end < std::min(begin + group, spans.size()); ++end) {
      if (spans[end].phase != spans[begin].phase) break;
      flop += spans[end].flop;
      if (spans[end].alive_bytes < spans[low].alive_bytes) low = end;
      if (spans[end].alive_bytes > spans[high].alive_bytes) high = end;
    }
    for (const std::size_t i : {std::min(low, high), std::max(low, high)}) {
      kept.push_back({flop / 2, spans[i].alive_bytes, spans[i].phase});
    }
    begin = end;
  }
  return kept;
}

// `times` iterations of a loop, of which `inside` is one.
void append_iterations(std::vector<TimelineSpan>& spans, const std::vector<TimelineSpan>& inside,
                       std::int64_t times) {
  const std::int64_t shown = std::min(times, kMostIterations);
  for (std::int64_t repeat = 0; repeat < shown; ++repeat) {
    for (const TimelineSpan& span : inside) {
      const double flop = span.flop * static_cast<double>(times) / static_cast<double>(shown);
      spans.push_back({flop, span.alive_bytes, span.phase});
    }
  }
}

// `around`: bytes alive outside of the body; `phase`: of the loop that the body is in.
std::vector<TimelineSpan> spans_of(const Body& body, std::int64_t around,
                                   const std::string& phase) {
  std::vector<TimelineSpan> spans;
  for (std::size_t i = 0; i < body.instrs.size(); ++i) {
    const Instr& instr = body.instrs[i];
    const Node& node = body.graph->nodes[static_cast<std::size_t>(instr.node)];
    const std::string own = phase.empty() ? phase_of(node.label) : phase;
    const std::int64_t alive = around + body.alive_bytes[i];
    if (!instr.loop) {
      spans.push_back({static_cast<double>(cost_of(*body.graph, node).flop), alive, own});
      continue;
    }
    const LoopPlan& loop = *instr.loop;
    // The first thread's workspace counts as its own body says, the others' in full.
    const auto add = [&](const Body& iteration, std::int64_t times) {
      append_iterations(
          spans,
          thinned_spans(spans_of(iteration, alive - loop.workspace_stride, own), kMostSpansOfBody),
          times);
    };
    if (own.empty()) {
      // The loop over tasks has no phase of its own: its tasks are alike, and one tells more.
      add(loop.fullest(), 1);
      continue;
    }
    const bool ends_alike = loop.last == loop.body;
    add(*loop.body, loop.region->n - (ends_alike ? 0 : 1));
    if (!ends_alike) add(*loop.last, 1);
  }
  return spans;
}

std::string phase_label(const std::string& phase) { return phase.empty() ? "(the rest)" : phase; }

// One area per phase, with gaps where another phase runs; colours follow `phases`, which grows.
Plot timeline_plot(const std::vector<TimelineSpan>& spans, std::vector<std::string>& phases) {
  Plot plot{.kind = PlotKind::areas};
  double total = 0;
  for (const TimelineSpan& span : spans) total += span.flop;
  double done = 0;
  std::string last;
  for (const TimelineSpan& span : spans) {
    const std::string label = phase_label(span.phase);
    auto line = std::ranges::find(plot.lines, label, &PlotLine::label);
    if (line == plot.lines.end()) {
      auto known = std::ranges::find(phases, label);
      if (known == phases.end()) known = phases.insert(phases.end(), label);
      plot.lines.push_back({.label = label, .color = static_cast<int>(known - phases.begin())});
      line = plot.lines.end() - 1;
    }
    const auto add = [&](double x, double y) {
      line->x.push_back(x);
      line->y.push_back(y);
    };
    if (label != last && !line->x.empty()) {
      add(0, std::numeric_limits<double>::quiet_NaN());
    }
    const auto alive = static_cast<double>(span.alive_bytes);
    const double percent = total > 0 ? 100 / total : 0;
    add(done * percent, alive);
    done += span.flop;
    add(done * percent, alive);
    last = label;
  }
  plot.x = {.label = "share of the planned FLOPs, %", .low = 0, .high = 100};
  plot.y = {.label = "dynamic memory alive", .low = 0};
  return plot;
}

// A row per phase; for each mode what is alive and what is kept.
void fill_phases(const std::vector<std::pair<std::string, std::vector<Phase>>>& of_modes,
                 const std::vector<std::string>& labels, ReportTable& table) {
  for (const auto& [mode, phases] : of_modes) {
    table.header.insert(table.header.end(), {mode + ": alive", mode + ": kept"});
  }
  for (const std::string& label : labels) {
    std::vector<ReportCell>& row = table.rows.emplace_back();
    row.push_back({.text = label});
    for (const auto& [mode, phases] : of_modes) {
      const auto phase =
          std::ranges::find(phases, label, [](const Phase& p) { return phase_label(p.name); });
      for (const auto bytes : {&Phase::peak_bytes, &Phase::kept_bytes}) {
        if (phase == phases.end()) {
          row.push_back({.text = std::string(kAbsent)});
        } else {
          const std::int64_t number = (*phase).*bytes;
          row.push_back({.text = format_bytes(number), .number = static_cast<double>(number)});
        }
      }
    }
  }
}

struct Planned {
  Plot plot;
  std::vector<Phase> phases;
};

Config config_of(const RunRecord& run) {
  if (!run.directory.empty()) return load_config((run.directory / "config.yaml").string());
  std::vector<std::string> settings;
  for (const auto& [key, value] : run.keys) {
    if (key != "config") settings.push_back(key + "=" + value);
  }
  return load_config(run.config, settings);
}

Planned plan_timeline(const RunRecord& run, const std::string& mode,
                      std::vector<std::string>& phases) {
  const Config config = config_of(run);
  const std::unique_ptr<DataSchema> source = make_schema(config);
  const Experiment experiment =
      build_experiment(config, *source, compute_type(config), {.train = true});
  const ProgramPtr program =
      compile_stage(experiment.train, plan_options(config, threads_of(config)));
  const std::vector<TimelineSpan> spans = timeline_of(*program);
  Plot plot = timeline_plot(spans, phases);
  const std::int64_t peak = std::ranges::max(spans, {}, &TimelineSpan::alive_bytes).alive_bytes;
  plot.title = "gradient.mode=" + mode;
  plot.note = "As planned for " + run.name + ": at most " + format_bytes(peak) +
              " alive at once, in an arena of " + format_bytes(program->dynamic_bytes) +
              "; of tasks that follow each other, one";
  scale_y(plot, "alive_bytes");
  return {std::move(plot), program->body->phases};
}

}  // namespace

std::vector<TimelineSpan> timeline_of(const Program& program) {
  std::vector<TimelineSpan> spans =
      thinned_spans(spans_of(*program.body, program.result_bytes, ""), kMostSpans);
  // Every buffer counts in multiples of kAlignment; the arena does not go on after the last one.
  for (TimelineSpan& span : spans) {
    span.alive_bytes = std::min(span.alive_bytes, program.dynamic_bytes);
  }
  return spans;
}

Timelines timelines(const RunSet& runs) {
  Timelines all{
      .phases = {.caption = "Bytes alive at once in each phase, and made in it for a later one",
                 .header = {"phase"},
                 .left = 1}};
  const KeyColumn* modes = runs.find_key("gradient.mode");
  if (modes == nullptr) return all;
  std::vector<std::string> phases;
  std::vector<std::pair<std::string, std::vector<Phase>>> of_modes;
  for (std::size_t m = 0; m < modes->texts.size(); ++m) {
    const auto run = std::ranges::find(modes->index, static_cast<int>(m)) - modes->index.begin();
    const RunRecord& record = runs.run(static_cast<std::size_t>(run));
    try {
      Planned planned = plan_timeline(record, modes->texts[m], phases);
      all.plots.push_back(std::move(planned.plot));
      of_modes.emplace_back(modes->texts[m], std::move(planned.phases));
    } catch (const UserError& error) {
      all.notices.push_back("No memory timeline of " + record.name + ": " + error.what());
    }
  }
  fill_phases(of_modes, phases, all.phases);
  return all;
}

}  // namespace mixflow
