#include "report/gnuplot.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "../util/testing.h"

using namespace mixflow;

namespace {

Plot sample() {
  return {.title = "a <title>",
          .x = {.label = "it's `date` \"x\" {y}\n", .ticks = {{1, "50%"}, {2, "a'b"}}},
          .y = {.label = "loss"},
          .lines = {{.label = "one", .x = {1, 2, 3}, .y = {1, NAN, 3}},
                    {.label = "two", .x = {1, 2}, .y = {2, 2}, .low = {1, 1}, .high = {3, 3}}},
          .reference = 1};
}

}  // namespace

TEST_CASE("labels reach gnuplot as they are: nothing in them is a command, a format or markup") {
  const std::string script = gnuplot_script({sample()});
  CHECK(has(script, "set xlabel 'it''s `date` \"x\" {y} '"));
  CHECK(has(script, "set xtics ('50%%' 1, 'a''b' 2)"));
  CHECK(has(script, "noenhanced"));
  CHECK(has(script, "1 1\n\n3 3\nEOD"));  // NaN: a gap
  CHECK(has(script, "with filledcurves"));
}

TEST_CASE("drawn plots follow the page's theme, have no scripts and no names in common") {
  const auto drawn = draw({sample(), sample()});
  REQUIRE_MESSAGE(drawn.has_value(), "gnuplot is missing: scripts/setup.sh installs gnuplot-nox");
  REQUIRE(drawn->size() == 2);
  for (const std::string& svg : *drawn) {
    CHECK(svg.starts_with("<svg viewBox=\"0 0 "));
    CHECK(has(svg, "aria-label=\"a &lt;title&gt;\""));
    CHECK(has(svg, "var(--series-1)"));
    CHECK(has(svg, "var(--series-2)"));
    CHECK(has(svg, "var(--ink)"));
    CHECK(has(svg, "var(--grid)"));
    CHECK(has(svg, ">50%<"));
    CHECK(has(svg, ">it's `date` \"x\" {y} <"));
    for (const char* foreign : {"rgb(", "script", "xlink", "http", "black", "<title"}) {
      CHECK_MESSAGE(!has(svg, foreign), "found " << foreign);
    }
  }
  CHECK(has((*drawn)[0], "plot0-point"));
  CHECK(!has((*drawn)[1], "plot0"));
}

TEST_CASE("without gnuplot there are no plots and no error") {
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", "/nowhere", 1);
  const auto drawn = draw({sample()});
  ::setenv("PATH", path.c_str(), 1);
  CHECK(!drawn.has_value());
}

TEST_CASE("no plots need no gnuplot") { CHECK(draw({})->empty()); }

TEST_CASE("bytes and seconds get units, and logarithmic axes ticks at 1, 2 and 5") {
  Plot plot{.y = {.label = "dynamic_bytes"}, .lines = {{.x = {1, 2}, .y = {1024, 4096}}}};
  scale_y(plot, "dynamic_bytes");
  CHECK(plot.y.label == "dynamic_bytes, KiB");
  CHECK(plot.lines[0].y == std::vector<double>{1, 4});
  plot.lines[0].y = {0.002, 0.3};
  plot.y.label = "step_s";
  scale_y(plot, "step_s");
  CHECK(plot.y.label == "step_s, ms");
  CHECK(plot.lines[0].y[1] == doctest::Approx(300));
  use_log_y(plot, 10);
  CHECK(plot.y.log);
  REQUIRE(plot.y.ticks.size() == 7);  // 2, 5, 10, 20, 50, 100, 200
  CHECK(plot.y.ticks[0].second == "2");
  Plot negative{.lines = {{.x = {1, 2}, .y = {-1, 400}}}};
  use_log_y(negative, 10);
  CHECK(!negative.y.log);
}
