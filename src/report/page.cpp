#include "report/page.h"

#include <algorithm>

#include "report/escape.h"
#include "report/gnuplot.h"
#include "report/plots.h"
#include "report/style.h"
#include "report/timeline.h"
#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

constexpr const char* kNoGnuplot =
    "The plots are missing: they are drawn by gnuplot, which is not installed here (Debian: "
    "gnuplot-nox)";

struct Section {
  std::string id, title;
  std::vector<Plot> plots;
  std::string before, after;  // HTML around the plots
};

std::string legend(const Plot& plot) {
  std::string text = "<ul class=\"legend\">\n";
  for (std::size_t i = 0; i < plot.lines.size(); ++i) {
    const std::string color = "var(--series-" + std::to_string(color_of(plot, i) + 1) + ")";
    const std::string mark =
        plot.kind == PlotKind::areas ? "<rect width=\"20\" height=\"10\" fill=\"" + color + "\"/>"
        : plot.kind == PlotKind::dots
            ? "<circle cx=\"10\" cy=\"5\" r=\"4\" fill=\"" + color + "\"/>"
            : "<path d=\"M0 5H20\" stroke-width=\"3\" stroke=\"" + color + "\"/>";
    text += "<li><svg viewBox=\"0 0 20 10\" aria-hidden=\"true\">" + mark + "</svg><span>" +
            html_escaped(plot.lines[i].label) + "</span></li>\n";
  }
  return text + "</ul>\n";
}

std::string figure(const Plot& plot, const std::string& svg) {
  return "<figure>\n<figcaption>" + html_escaped(plot.title) + "<small>" + html_escaped(plot.note) +
         ".</small></figcaption>\n" + svg + legend(plot) + "</figure>\n";
}

// All plots of all sections by one gnuplot. Why there are none, or "".
std::string draw_sections(std::vector<Section>& sections) {
  std::vector<Plot> plots;
  for (const Section& section : sections) {
    plots.insert(plots.end(), section.plots.begin(), section.plots.end());
  }
  std::optional<std::vector<std::string>> drawn;
  try {
    drawn = draw(plots);
  } catch (const RunError& error) {
    return std::string("The plots are missing: ") + error.what();
  }
  if (!drawn) return kNoGnuplot;
  std::size_t next = 0;
  for (Section& section : sections) {
    if (section.plots.empty()) continue;
    std::string figures = "<div class=\"plots\">\n";
    for (const Plot& plot : section.plots) figures += figure(plot, (*drawn)[next++]);
    section.after = figures + "</div>\n" + section.after;
  }
  return "";
}

std::string left_out_list(const ReportData& data) {
  if (data.left_out.empty()) return "";
  std::string text = "<p><strong>" + std::to_string(data.left_out.size()) +
                     " of the runs are not in the tables and plots:</strong></p>\n<ul>\n";
  for (const RunRecord& run : data.left_out) {
    text += "<li>" + html_escaped(run.name) + ": " + std::string(name_of(run.state));
    text += (run.note.empty() ? "" : " (" + html_escaped(run.note) + ")") + "</li>\n";
  }
  return text + "</ul>\n";
}

// What bench only planned is in the tables, without times.
std::string planned_list(const RunSet& runs) {
  std::string text;
  for (std::size_t run = 0; run < runs.size(); ++run) {
    if (runs.run(run).state != RunState::planned) continue;
    text += "<li>" + html_escaped(runs.run(run).name) + ": " + html_escaped(runs.run(run).note) +
            "</li>\n";
  }
  return text.empty() ? "" : "<p>Planned, not measured:</p>\n<ul>\n" + text + "</ul>\n";
}

// Keys that all runs share.
std::string settings_list(const RunSet& runs) {
  std::string text = "<details><summary>Settings that all of them share</summary>\n<dl>\n";
  for (const KeyColumn& key : runs.keys()) {
    if (key.texts.size() > 1) continue;
    text +=
        "<dt>" + html_escaped(key.name) + "</dt><dd>" + html_escaped(key.texts.front()) + "</dd>\n";
  }
  return text + "</dl></details>\n";
}

std::string title_of(const RunSet& runs) {
  const KeyColumn* name = runs.find_key("name");
  if (name == nullptr) return "mixflow report";
  std::vector<std::string> names(
      name->texts.begin(),
      name->texts.begin() + std::min<std::ptrdiff_t>(3, std::ssize(name->texts)));
  return join(names, ", ") + (name->texts.size() > 3 ? ", .." : "") + ": mixflow report";
}

Section results_section(const ReportData& data) {
  Section section{.id = "results", .title = "Results"};
  for (const ReportTable& table : data.tables) section.before += to_html(table);
  section.before += planned_list(data.runs) + left_out_list(data) + settings_list(data.runs);
  return section;
}

Section timeline_section(const RunSet& runs) {
  Section section{.id = "timeline", .title = "Memory of one meta-step, by phase"};
  Timelines all = timelines(runs);
  section.plots = std::move(all.plots);
  if (!all.phases.rows.empty()) section.after += to_html(all.phases);
  for (const std::string& notice : all.notices) {
    section.after += "<p class=\"note\">" + html_escaped(notice) + "</p>\n";
  }
  return section;
}

std::string navigation(const std::vector<Section>& sections) {
  std::string text = "<nav aria-label=\"Sections\"><ul>\n";
  for (const Section& section : sections) {
    text += "<li><a href=\"#" + section.id + "\">" + html_escaped(section.title) + "</a></li>\n";
  }
  return text + "</ul></nav>\n";
}

}  // namespace

std::string html_page(const ReportData& data, const ReportOptions& options,
                      std::vector<std::string>& warnings) {
  std::vector<Section> sections = {
      results_section(data),
      {.id = "curves", .title = "Learning curves", .plots = curve_plots(data.runs)},
      {.id = "axes", .title = "Along the settings", .plots = axis_plots(data, options)},
      {.id = "ratios", .title = "Ratios", .plots = ratio_plots(data, options)},
      timeline_section(data.runs)};
  const std::string missing = draw_sections(sections);
  if (!missing.empty()) warnings.push_back(missing);
  std::erase_if(sections, [](const Section& s) { return s.before.empty() && s.after.empty(); });
  const std::string title = html_escaped(title_of(data.runs));
  // The policy lets the page load nothing, whatever is in it.
  std::string text =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'; img-src data:\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>" +
      title + "</title>\n<style>" + kReportStyle + "</style>\n</head>\n<body>\n<header>\n<h1>" +
      title + "</h1>\n<p>" + html_escaped(count_text(data)) + ".</p>\n";
  if (!missing.empty()) text += "<p><strong>" + html_escaped(missing) + ".</strong></p>\n";
  text += navigation(sections) + "</header>\n<main>\n";
  for (const Section& section : sections) {
    text += "<section id=\"" + section.id + "\">\n<h2>" + html_escaped(section.title) + "</h2>\n" +
            section.before + section.after + "</section>\n";
  }
  return text + "</main>\n</body>\n</html>\n";
}

}  // namespace mixflow
