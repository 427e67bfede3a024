#include "train/profile.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "graph/op.h"
#include "plan/lower.h"
#include "util/table.h"

namespace mixflow {
namespace {

constexpr std::size_t kNodesShown = 25;

const Node& node_of(const Trace::Span& span) {
  return span.body->graph->nodes[static_cast<std::size_t>(span.body->instrs[span.instr].node)];
}

bool is_loop(const Trace::Span& span) { return span.body->instrs[span.instr].loop != nullptr; }

// The last part of the label: "inner loss/blocks/attention bar" -> "attention bar".
std::string place_of(const Node& node) {
  const std::size_t cut = node.label.find_last_of('/');
  return cut == std::string::npos ? node.label : node.label.substr(cut + 1);
}

std::string describe(const Graph& graph, const Node& node) {
  std::string text = std::string(node.op->name);
  const auto add = [&](const Type& type, const char* before) { text += before + to_string(type); };
  for (std::size_t i = 0; i < std::min<std::size_t>(node.in.size(), 4); ++i) {
    add(graph.type(node.in[i]), i == 0 ? " " : ", ");
  }
  if (node.in.size() > 4) text += ", .. (" + std::to_string(node.in.size()) + ")";
  add(graph.type(node.out[0]), " -> ");
  if (node.out.size() > 1) text += ", .. (" + std::to_string(node.out.size()) + ")";
  const std::string place = place_of(node);
  return place.empty() ? text : place + ": " + text;
}

void add_to(std::map<std::string, ProfileLine>& lines, const std::string& what, double seconds,
            double flop) {
  ProfileLine& line = lines[what];
  line.what = what;
  ++line.calls;
  line.seconds += seconds;
  line.flop += flop;
}

std::vector<ProfileLine> sorted(const std::map<std::string, ProfileLine>& lines, double total) {
  std::vector<ProfileLine> result;
  for (const auto& [what, line] : lines) {
    result.push_back(line);
    result.back().share = line.seconds / total;
  }
  std::ranges::stable_sort(result, std::greater(), &ProfileLine::seconds);
  return result;
}

std::string table_of(const char* title, std::span<const ProfileLine> lines, double peak) {
  std::vector<std::vector<std::string>> cells{
      {title, "calls", "ms", "share", "GFLOP/s", "of peak"}};
  for (const ProfileLine& line : lines) {
    char ms[32], share[32], rate[32], of_peak[32];
    std::snprintf(ms, sizeof ms, "%.3f", line.seconds * 1e3);
    std::snprintf(share, sizeof share, "%.1f %%", 100 * line.share);
    std::snprintf(rate, sizeof rate, "%.1f", line.gflops());
    std::snprintf(of_peak, sizeof of_peak, "%.0f %%", 100 * line.gflops() / peak);
    cells.push_back({line.what, std::to_string(line.calls), ms, share, line.flop > 0 ? rate : "-",
                     line.flop > 0 ? of_peak : "-"});
  }
  return aligned_table(cells, 1);
}

}  // namespace

Profile profile(const Trace& trace, double seconds) {
  const auto threads = static_cast<double>(trace.threads());
  std::map<std::string, ProfileLine> kinds, nodes;
  double busy = 0;
  for (std::size_t t = 0; t < trace.threads(); ++t) {
    // Inside a loop whose iterations are split over threads, a kernel counts once; elsewhere on as
    // many threads as there are. A loop's span comes after those inside it: from the last to the
    // first, it is met before them.
    std::int64_t split_from = INT64_MAX;
    const std::span<const Trace::Span> spans = trace.spans(t);
    for (std::size_t i = spans.size(); i-- > 0;) {
      const Trace::Span& span = spans[i];
      if (is_loop(span)) {
        const bool split = span.body->instrs[span.instr].loop->threads > 1;
        if (split) split_from = span.begin_ns;
        continue;
      }
      const Graph& graph = *span.body->graph;
      const Node& node = node_of(span);
      const double times = t > 0 || span.begin_ns >= split_from ? 1 : threads;
      const double spent = static_cast<double>(span.end_ns - span.begin_ns) * 1e-9 * times;
      const auto flop = static_cast<double>(cost_of(graph, node).flop);
      add_to(kinds, std::string(node.op->name), spent, flop);
      add_to(nodes, describe(graph, node), spent, flop);
      busy += spent;
    }
  }
  add_to(kinds, "idle", std::max(0.0, seconds * threads - busy), 0);
  return {.seconds = seconds,
          .threads = static_cast<int>(trace.threads()),
          .kinds = sorted(kinds, seconds * threads),
          .nodes = sorted(nodes, seconds * threads)};
}

std::string to_text(const Profile& profile, double gflops) {
  const double peak = gflops / profile.threads;
  char head[256];
  std::snprintf(
      head, sizeof head,
      "One meta-step, %.3f ms on %d thread%s; ms and shares: of the threads' time, that of "
      "those which wait for a kernel included; GFLOP/s per thread, of a peak of %.0f\n",
      profile.seconds * 1e3, profile.threads, profile.threads == 1 ? "" : "s", peak);
  const std::span<const ProfileLine> nodes(profile.nodes);
  return std::string(head) + "\n" + table_of("op", profile.kinds, peak) + "\n" +
         table_of("node", nodes.first(std::min(kNodesShown, nodes.size())), peak);
}

std::string to_chrome_json(const Trace& trace) {
  using Json = nlohmann::ordered_json;
  std::int64_t begin = INT64_MAX;
  for (std::size_t t = 0; t < trace.threads(); ++t) {
    for (const Trace::Span& span : trace.spans(t)) begin = std::min(begin, span.begin_ns);
  }
  const auto us = [&](std::int64_t ns) { return static_cast<double>(ns - begin) * 1e-3; };
  std::string text = "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n";
  auto append = [&, first = true](const Json& event) mutable {
    text += (first ? "" : ",\n") + event.dump();
    first = false;
  };
  append({{"ph", "M"}, {"pid", 1}, {"name", "process_name"}, {"args", {{"name", "mixflow"}}}});
  for (std::size_t t = 0; t < trace.threads(); ++t) {
    std::vector<Trace::Span> spans(trace.spans(t).begin(), trace.spans(t).end());
    std::ranges::stable_sort(spans, [](const Trace::Span& a, const Trace::Span& b) {
      return a.begin_ns != b.begin_ns ? a.begin_ns < b.begin_ns : a.depth < b.depth;
    });
    // Bytes alive around the loops that are open, without the workspaces of their bodies.
    std::vector<std::pair<std::uint32_t, std::int64_t>> around;
    for (const Trace::Span& span : spans) {
      const Graph& graph = *span.body->graph;
      const Node& node = node_of(span);
      Json event = {{"ph", "X"},
                    {"pid", 1},
                    {"tid", t},
                    {"ts", us(span.begin_ns)},
                    {"dur", static_cast<double>(span.end_ns - span.begin_ns) * 1e-3},
                    {"name", std::string(node.op->name)},
                    {"cat", is_loop(span) ? "loop" : "kernel"},
                    {"args", {{"node", describe(graph, node)}, {"path", node.label}}}};
      append(event);
      if (t > 0) continue;
      while (!around.empty() && around.back().first >= span.depth) around.pop_back();
      const std::int64_t alive =
          (around.empty() ? 0 : around.back().second) + span.body->alive_bytes[span.instr];
      if (is_loop(span)) {
        const LoopPlan& loop = *span.body->instrs[span.instr].loop;
        // The first thread's workspace counts as its own body says; the others' in full.
        around.emplace_back(span.depth, alive - loop.workspace_stride);
        continue;
      }
      append({{"ph", "C"},
              {"pid", 1},
              {"ts", us(span.begin_ns)},
              {"name", "dynamic memory"},
              {"args", {{"bytes", alive}}}});
    }
  }
  return text + "\n]}\n";
}

}  // namespace mixflow
