#include "report/table.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "../util/testing.h"
#include "report/escape.h"
#include "runs.h"

using namespace mixflow;

namespace {

const std::string kNasty = "a<b> & \"q\" | $x_1% {~^\\} #é\n";

}  // namespace

TEST_CASE("what comes from configs is escaped in every format") {
  CHECK(html_escaped(kNasty) == "a&lt;b&gt; &amp; &quot;q&quot; | $x_1% {~^\\} #é ");
  CHECK(markdown_escaped("a|b <i> *x* `y` \\") == "a\\|b &lt;i> \\*x\\* \\`y\\` \\\\");
  CHECK(
      latex_escaped("50% of $x_1 & {a} #1 ~^\\ é α ±") ==
      "50\\% of \\$x\\_1 \\& \\{a\\} \\#1 \\textasciitilde{}\\textasciicircum{}\\textbackslash{} é "
      "U+03B1 $\\pm$");
  CHECK(latex_escaped("\xff\xc3") == "U+FFFDU+FFFD");
}

TEST_CASE("numbers for people have units and as many digits as their interval allows") {
  CHECK(number_for_people("dynamic_bytes", 6532) == "6.4 KiB");
  CHECK(number_for_people("dynamic_bytes.max", 512) == "512 B");
  CHECK(number_for_people("flop", 67179) == "67179");
  CHECK(number_for_people("loss", 0.123456) == "0.1235");
  CHECK(number_for_people("loss", NAN) == "nan");
  CHECK(interval_for_people("loss", 3.04344, 0.0581) == "3.043 ± 0.058");
  CHECK(interval_for_people("loss", 8.1026, 12.8) == "8.10 ± 12.80");
  CHECK(interval_for_people("step_s", 1.372e-5, 4.2e-7) == "(1.372 ± 0.042)e-05");
  CHECK(interval_for_people("rss_bytes", 2048 * 1024, 512 * 1024) == "2.00 ± 0.50 MiB");
}

TEST_CASE("CSV has one header, quotes as RFC 4180 has it, and numbers that read back the same") {
  const TemporaryDirectory directory;
  write_run(directory.path / "a", finished("seed: 1\nx: \"a, \\\"b\\\"\"\n", 0.1, 3));
  write_run(directory.path / "b", finished("seed: 2\nx: \"a, \\\"b\\\"\"\n", 0.3, 3));
  const RunSet runs = run_set(directory.path);
  const Pivot table = pivot(runs, {.rows = {"x"}, .values = {value_column(runs, "step_s")}});
  CHECK(to_csv(table) == "x,runs,step_s,step_s_n,step_s_ci95\r\n\"a, \"\"b\"\"\",2,0.2,2," +
                             exact(*table.cells[0][0][0].ci95) + "\r\n");
  for (const double number : {0.1, 1.0 / 3, 1e-310, 12345678901234567.0}) {
    CHECK(std::strtod(exact(number).c_str(), nullptr) == number);
  }
}

TEST_CASE("every format shows the pivot, HTML and CSV with the whole numbers") {
  const TemporaryDirectory directory;
  write_grid(directory.path);
  const RunSet runs = run_set(directory.path);
  const Pivot table = pivot(runs, {.rows = {"gradient.mode"},
                                   .cols = {"inner.steps"},
                                   .values = {value_column(runs, "dynamic_bytes")},
                                   .agg = Agg::median,
                                   .baseline = parse_baseline({"gradient.mode=reverse"})});
  const std::vector<ReportTable> tables = tables_of(table);
  REQUIRE(tables.size() == 1);
  const std::string markdown = to_markdown(tables[0]);
  CHECK(has(markdown, "| gradient.mode | inner.steps=2 | inner.steps=2 ratio |"));
  CHECK(has(markdown, "| mixed         |       2.0 KiB |               0.50x |"));
  CHECK(has(to_csv(table), "mixed,6,2000,0.5,10000,0.5\r\n"));
  const std::string html = to_html(tables[0]);
  CHECK(has(html, "<th scope=\"row\">mixed</th><td><data value=\"2000\" title=\"2000 (n = 3)\">"));
  const std::string latex = to_latex(tables[0]);
  CHECK(has(latex, "\\begin{tabular}{lrrrr}\n\\toprule\ngradient.mode & inner.steps=2"));
  CHECK(has(latex, "{reverse} & {3.9 KiB} & {1.00x} & {19.5 KiB} & {1.00x} \\\\\n\\bottomrule"));
}
