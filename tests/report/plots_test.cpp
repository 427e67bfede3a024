// Which plots a report makes of runs.
#include "report/plots.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>

#include "report/gnuplot.h"
#include "runs.h"

using namespace mixflow;

namespace {

// With two points of each curve; the held-out ones are null.
void write_diverged(const std::filesystem::path& directory) {
  RunFiles files = finished(config_text("mixed", 2, 1), 1, 1000);
  files.metrics = {R"({"step":1,"meta_loss":5})", R"({"step":2,"meta_loss":4})"};
  for (const char* step : {"1", "2"}) {
    files.evals.push_back(std::string(R"({"step":)") + step +
                          R"(,"split":"test","points":[{"inner_steps":5,"loss":null}]})");
  }
  write_run(directory, files);
}

}  // namespace

TEST_CASE("curves without a finite point are left out, and the others are drawn") {
  const TemporaryDirectory directory;
  write_diverged(directory.path / "a");
  const std::vector<Plot> plots = curve_plots(run_set(directory.path));
  REQUIRE(plots.size() == 1);
  CHECK(plots[0].title == "meta_loss by meta-step");
  CHECK(draw(plots)->size() == 1);
}

TEST_CASE("a gnuplot that fails costs the page its plots, not its tables") {
  const TemporaryDirectory directory;
  write_diverged(directory.path / "runs/a");
  write_atomically(directory.path / "gnuplot", "#!/bin/sh\necho\necho no '<range>' >&2\nexit 1\n");
  REQUIRE(::chmod((directory / "gnuplot").c_str(), 0700) == 0);
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", directory.path.c_str(), 1);
  const Report report = make_report({.paths = {directory / "runs"}, .format = ReportFormat::html});
  ::setenv("PATH", path.c_str(), 1);
  REQUIRE(report.warnings.size() == 1);
  CHECK(report.warnings[0] == "The plots are missing: gnuplot failed: no <range>");
  CHECK(report.text.find(
            "<strong>The plots are missing: gnuplot failed: no &lt;range&gt;.</strong>") !=
        std::string::npos);
  CHECK(report.text.find("<table") != std::string::npos);
}

TEST_CASE("the baseline has no curve of ratios to itself, however its number is written") {
  const TemporaryDirectory directory;
  for (const std::string x : {"1", "2", "3"}) {
    for (const std::string steps : {"2", "10"}) {
      write_run(directory.path / (x + "_" + steps),
                finished("seed: 1\nx: " + x + "\ninner: {steps: " + steps + "}\n", 1,
                         1000 * std::stol(steps)));
    }
  }
  const ReportData data{.runs = run_set(directory.path)};
  const std::vector<Plot> plots = ratio_plots(data, {.baseline = {"inner.steps=2.0"}});
  REQUIRE(plots.size() == 2);  // dynamic_bytes, step_s
  REQUIRE(plots[0].lines.size() == 1);
  CHECK(plots[0].lines[0].label == "inner.steps=10, 3 configurations");
  CHECK(plots[0].lines[0].y == std::vector<double>{5, 5, 5});
}

TEST_CASE("without runs in mode reverse, dynamic memory is compared with what they plan for it") {
  const TemporaryDirectory directory;
  for (const std::string x : {"1", "2", "3"}) {
    write_run(directory.path / x, {.config = "seed: 1\nx: " + x + "\ngradient: {mode: mixed}\n",
                                   .summary = R"({"interrupted": false, "dynamic_bytes": )" + x +
                                              R"(, "reverse_dynamic_bytes": 4})"});
  }
  const std::vector<Plot> plots = ratio_plots({.runs = run_set(directory.path)}, {});
  REQUIRE(plots.size() == 1);
  CHECK(plots[0].note.starts_with("Every configuration over its own plan in mode reverse;"));
  CHECK(plots[0].lines.at(0).y == std::vector<double>{0.25, 0.5, 0.75});
}
