// A plot, before anything draws it.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mixflow {

struct PlotLine {
  std::string label;
  std::vector<double> x, y;       // NaN: a gap
  std::vector<double> low, high;  // a band around y, or empty
  int color = -1;                 // from 0; -1: its place among the lines
};

struct PlotAxis {
  std::string label;
  bool log = false;
  // The axis's ends; NaN: from the data.
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
  std::vector<std::pair<double, std::string>> ticks;  // none: chosen by what draws
};

enum class PlotKind : std::uint8_t {
  lines,
  points,  // joined by lines
  dots,    // points alone
  areas,   // between y and zero
};

struct Plot {
  std::string title;
  std::string note;  // what is shown, and how it was reduced
  PlotKind kind = PlotKind::lines;
  PlotAxis x, y;
  std::vector<PlotLine> lines;
  std::optional<double> reference;  // a level to compare with
};

inline constexpr int kPlotColors = 8;
inline int color_of(const Plot& plot, std::size_t line) {
  const int color = plot.lines[line].color;
  return (color < 0 ? static_cast<int>(line) : color) % kPlotColors;
}

// Numbers along an axis become units that people read: bytes KiB, MiB, .., seconds ms or µs. All
// lines are scaled and the label names the unit.
void scale_y(Plot& plot, const std::string& value_name);

// Lines without a finite y go: there is nothing to draw of them, and no range of an axis follows.
void drop_empty_lines(Plot& plot);

// Ticks at 1, 2 and 5 times powers of ten, and ends around the data; nothing where some y is not
// positive, or all are within a factor of `least`.
void use_log_y(Plot& plot, double least);

}  // namespace mixflow
