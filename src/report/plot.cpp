#include "report/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "report/table.h"
#include "util/memory.h"

namespace mixflow {
namespace {

struct Extent {
  double low = INFINITY, high = -INFINITY;
};

template <class Use>
void each_y(Plot& plot, const Use& use) {
  for (PlotLine& line : plot.lines) {
    for (std::vector<double>* values : {&line.y, &line.low, &line.high}) {
      for (double& value : *values) use(value);
    }
  }
}

Extent extent_of(Plot& plot) {
  Extent extent;
  each_y(plot, [&](double y) {
    if (!std::isfinite(y)) return;
    extent.low = std::min(extent.low, y);
    extent.high = std::max(extent.high, y);
  });
  return extent;
}

bool is_seconds(const std::string& name) {
  return name == "seconds" || name.ends_with("_s") || name.find("_s.") != std::string::npos;
}

}  // namespace

void scale_y(Plot& plot, const std::string& value_name) {
  const double high = extent_of(plot).high;
  double size = 1;
  const char* unit = "";
  if (is_bytes(value_name)) {
    const BinaryUnit binary = binary_unit(high);
    size = binary.size;
    unit = binary.name;
  } else if (is_seconds(value_name)) {
    unit = high >= 1 ? "s" : high >= 1e-3 ? "ms" : "µs";
    size = high >= 1 ? 1 : high >= 1e-3 ? 1e-3 : 1e-6;
  }
  if (*unit == '\0') return;
  each_y(plot, [&](double& y) { y /= size; });
  plot.y.label += std::string(", ") + unit;
}

void drop_empty_lines(Plot& plot) {
  std::erase_if(plot.lines, [](const PlotLine& line) {
    return std::ranges::none_of(line.y, [](double y) { return std::isfinite(y); });
  });
}

void use_log_y(Plot& plot, double least) {
  const Extent extent = extent_of(plot);
  if (!(extent.low > 0) || !(extent.high >= least * extent.low)) return;
  plot.y.log = true;
  plot.y.low = extent.low / 1.15;
  plot.y.high = extent.high * 1.15;
  const int first = static_cast<int>(std::floor(std::log10(plot.y.low)));
  const int last = static_cast<int>(std::ceil(std::log10(plot.y.high)));
  const std::vector<double> steps =
      last - first > 3 ? std::vector<double>{1} : std::vector<double>{1, 2, 5};
  const int stride = std::max(1, (last - first) / 7);
  for (int e = first; e <= last; e += stride) {
    for (const double step : steps) {
      const double tick = step * std::pow(10, e);
      if (tick < plot.y.low || tick > plot.y.high) continue;
      char text[32];
      std::snprintf(text, sizeof text, "%g", tick);
      plot.y.ticks.emplace_back(tick, text);
    }
  }
}

}  // namespace mixflow
