#include "report/pivot.h"

#include <doctest/doctest.h>

#include <cmath>

#include "runs.h"
#include "util/error.h"

using namespace mixflow;

namespace {

struct Grid {
  TemporaryDirectory directory;
  RunSet runs;
  Grid() : runs((write_grid(directory.path), run_set(directory.path))) {}
};

}  // namespace

TEST_CASE("a pivot's cells hold the runs of their row and column, and the mean has an interval") {
  const Grid grid;
  const Pivot table = pivot(grid.runs, {.rows = {"gradient.mode"},
                                        .cols = {"inner.steps"},
                                        .values = {value_column(grid.runs, "step_s")}});
  CHECK(table.row_labels == std::vector<std::vector<std::string>>{{"mixed"}, {"reverse"}});
  CHECK(table.col_labels == std::vector<std::vector<std::string>>{{"2"}, {"10"}});
  CHECK(table.row_runs == std::vector<std::size_t>{6, 6});
  CHECK(table.pooled_cells == 0);
  const PivotCell& cell = table.cells[0][1][1];  // reverse, 10 steps: 20.1, 20.2, 20.3
  CHECK(cell.count == 3);
  CHECK(*cell.value == doctest::Approx(20.2));
  CHECK(*cell.ci95 == doctest::Approx(4.3027 * 0.1 / std::sqrt(3)).epsilon(1e-4));
  CHECK(!cell.ratio);
}

TEST_CASE("a cell of several configurations has no interval over seeds, and is counted") {
  const Grid grid;
  const Pivot table =
      pivot(grid.runs, {.rows = {"gradient.mode"}, .values = {value_column(grid.runs, "step_s")}});
  CHECK(table.pooled_cells == 2);
  CHECK(*table.cells[0][0][0].value == doctest::Approx(6.2));
  CHECK(!table.cells[0][0][0].ci95);
}

TEST_CASE("ratios are to the cell that differs in the baseline alone") {
  const Grid grid;
  const Pivot table = pivot(grid.runs, {.rows = {"inner.steps", "gradient.mode"},
                                        .values = {value_column(grid.runs, "dynamic_bytes")},
                                        .agg = Agg::median,
                                        .baseline = parse_baseline({"gradient.mode=reverse"})});
  REQUIRE(table.row_labels.size() == 4);
  for (std::size_t r = 0; r < 4; ++r) {
    CHECK(*table.cells[0][r][0].ratio == (table.row_labels[r][1] == "mixed" ? 0.5 : 1));
    CHECK(!table.cells[0][r][0].ci95);
  }
}

TEST_CASE("values come from the summary, from curves, from the config") {
  const TemporaryDirectory directory;
  RunFiles files = finished(config_text("mixed", 4, 1), 0.5, 100);
  files.metrics = {R"({"step":1,"meta_loss":5,"rss_bytes":8})", R"({"step":2,"meta_loss":7})"};
  write_run(directory.path / "a", files);
  const RunSet runs = run_set(directory.path);
  const auto value = [&](const char* name) { return *value_column(runs, name).of_run[0]; };
  CHECK(value("step_s") == 0.5);
  CHECK(value("meta_loss") == 7);
  CHECK(value("meta_loss.min") == 5);
  CHECK(value("meta_loss.mean") == 6);
  CHECK(value("inner.steps") == 4);
  CHECK(message_of<UserError>([&] { value_column(runs, "dynamic_byte"); }) ==
        "report: --value dynamic_byte: no run has a number of that name; did you mean "
        "dynamic_bytes or plan.dynamic_bytes?");
  CHECK(
      message_of<UserError>([&] { value_column(runs, "gradient.mode"); }) ==
      "report: --value gradient.mode: the config key holds no numbers, but \"mixed\"; use it with "
      "--rows or --cols");
}

TEST_CASE("null in a summary is not a number, which is not the same as no number") {
  const TemporaryDirectory directory;
  write_run(directory.path / "a",
            {.config = "seed: 1\nx: 1\n", .summary = R"({"interrupted": false, "loss": null})"});
  write_run(directory.path / "b",
            {.config = "seed: 1\nx: 2\n", .summary = R"({"interrupted": false})"});
  const RunSet runs = run_set(directory.path);
  const Pivot table = pivot(runs, {.rows = {"x"}, .values = {value_column(runs, "loss")}});
  CHECK(std::isnan(*table.cells[0][0][0].value));
  CHECK(table.cells[0][1][0].count == 0);
  CHECK(!table.cells[0][1][0].value);
}

TEST_CASE("baselines that match nothing are errors that say what would") {
  const Grid grid;
  const auto with = [&](const std::string& baseline) {
    return message_of<UserError>([&] {
      pivot(grid.runs, {.rows = {"gradient.mode"}, .baseline = parse_baseline({baseline})});
    });
  };
  CHECK(with("gradient.mode=mixd") ==
        "report: --baseline gradient.mode=mixd: no run has it; expected one of mixed, reverse");
  CHECK(with("inner.steps=2") ==
        "report: --baseline inner.steps=2: expected one of the keys of rows and columns "
        "(gradient.mode)");
  CHECK(with("reverse") ==
        "report: --baseline reverse: expected key=value, such as gradient.mode=reverse");
}
