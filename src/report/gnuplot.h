// Draws plots with gnuplot, as SVG to stand inside a page: colours are CSS variables of the page
// (--series-1 .. --series-8, --ink, --grid), so that they follow its theme, the size is the page's,
// and the names inside are distinct among the plots.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report/plot.h"

namespace mixflow {

// One <svg> per plot, by one gnuplot process; nothing where there is no gnuplot. RunError, with
// what it says in one line, where gnuplot fails.
std::optional<std::vector<std::string>> draw(const std::vector<Plot>& plots);

// The commands that draw the plots into plot0.svg, plot1.svg, ..
std::string gnuplot_script(const std::vector<Plot>& plots);

// What gnuplot wrote, without what is its own: prologue, scripts, hidden definitions, colours.
std::string themed_svg(const std::string& svg, const std::string& name, const std::string& title);

}  // namespace mixflow
