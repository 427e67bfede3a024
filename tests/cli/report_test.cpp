// report, through the binary, on runs that the binary has just trained.
#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "process.h"

using namespace mixflow;

namespace {

// mixed and reverse, two seeds each, in runs/.
void train_runs(const std::filesystem::path& directory) {
  for (const std::string mode : {"mixed", "reverse"}) {
    for (const std::string seed : {"1", "2"}) {
      const Outcome outcome =
          mixflow::mixflow(Args{"train", "--quiet", "--out", "runs/" + mode + seed} +
                               tiny(set({"seed=" + seed, "gradient.mode=" + mode})),
                           directory);
      REQUIRE(outcome.code == 0);
    }
  }
}

nlohmann::json summary(const std::filesystem::path& directory, const std::string& run) {
  return nlohmann::json::parse(read_text(directory / "runs" / run / "summary.json"));
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TEST_CASE("report shows what the runs' summaries say, in every format") {
  const TemporaryDirectory directory;
  train_runs(directory.path);
  const Args pivot = {"report",  "runs",          "--rows", "gradient.mode",
                      "--value", "dynamic_bytes", "--agg",  "median"};
  const std::string mixed = summary(directory.path, "mixed1").at("dynamic_bytes").dump();
  const std::string reverse = summary(directory.path, "reverse2").at("dynamic_bytes").dump();

  const Outcome csv = mixflow::mixflow(pivot + Args{"--format", "csv"}, directory.path);
  CHECK(csv.code == 0);
  CHECK(csv.err == "");
  CHECK(csv.out == "gradient.mode,runs,dynamic_bytes\r\nmixed,2," + mixed + "\r\nreverse,2," +
                       reverse + "\r\n");

  const auto json = json_of(mixflow::mixflow(pivot + Args{"--json"}, directory.path));
  CHECK(json.at("configurations") == 2);
  CHECK(json.at("axes") == nlohmann::json{"gradient.mode"});
  CHECK(json.at("runs").size() == 4);
  CHECK(json.at("table").at("cells")[1].at("values").at("dynamic_bytes").at("value").dump() ==
        reverse + ".0");

  const Outcome html = mixflow::mixflow({"report", "runs", "--out", "r.html"}, directory.path);
  CHECK(html.code == 0);
  CHECK(html.out == "");
  const std::string page = read_text(directory.path / "r.html");
  CHECK(has(page, "<data value=\"" + mixed + "\""));
  for (const char* part : {"<title>quickstart: mixflow report</title>", "meta_loss by meta-step",
                           "dynamic_bytes by gradient.mode", "gradient.mode=reverse", "unroll bar",
                           "prefers-color-scheme: dark", "@media print", "</html>"}) {
    CHECK_MESSAGE(has(page, part), part);
  }
  for (const char* part : {"<script", "http:", "https:", "url(", "@import"}) {
    CHECK_MESSAGE(!has(page, part), part);
  }
  const Outcome again = mixflow::mixflow({"report", "runs", "--format", "html"}, directory.path);
  CHECK(again.out == page);
}

TEST_CASE("report counts only finished runs, names the others, and with --all counts them too") {
  const TemporaryDirectory directory;
  train_runs(directory.path);
  std::filesystem::remove(directory.path / "runs/mixed2/summary.json");
  const Outcome outcome = mixflow::mixflow({"report", "runs"}, directory.path);
  CHECK(outcome.code == 0);
  CHECK(has(outcome.out, "4 runs: 3 finished, 1 unfinished; 2 configurations"));
  CHECK(
      has(outcome.out, "- runs/mixed2: unfinished (no summary.json; metrics end at meta-step 12)"));
  CHECK(has(outcome.err, "1 of 4 runs are not counted"));
  const Outcome all = mixflow::mixflow({"report", "runs", "--all", "--format", "csv", "--rows",
                                        "gradient.mode", "--value", "step", "--agg", "count"},
                                       directory.path);
  CHECK(all.out == "gradient.mode,runs,step\r\nmixed,2,2\r\nreverse,2,2\r\n");
  const Outcome none = mixflow::mixflow({"report", "runs/mixed2"}, directory.path);
  CHECK(none.code == 2);
  CHECK(has(none.err, "report: no run has finished; --all counts those that have got somewhere:"));
}

TEST_CASE("report reads what bench --json printed") {
  const TemporaryDirectory directory;
  const Outcome bench = mixflow::mixflow(
      Args{"bench", "--json", "--quiet", "--reps", "2"} +
          tiny({"--over", "inner.steps=1,2", "--over", "gradient.mode=reverse,mixed"}),
      directory.path);
  REQUIRE(bench.code == 0);
  write_atomically(directory.path / "bench.json", bench.out);
  const auto rows = nlohmann::json::parse(bench.out).at("rows");
  const Outcome outcome =
      mixflow::mixflow({"report", "bench.json", "--rows", "inner.steps", "--cols", "gradient.mode",
                        "--value", "dynamic_bytes", "--agg", "max", "--format", "csv"},
                       directory.path);
  CHECK(outcome.code == 0);
  const auto bytes = [&](int row) {
    return rows[static_cast<std::size_t>(row)].at("dynamic_bytes").dump();
  };
  CHECK(outcome.out == "inner.steps,runs,gradient.mode=mixed,gradient.mode=reverse\r\n1,2," +
                           bytes(1) + "," + bytes(0) + "\r\n2,2," + bytes(3) + "," + bytes(2) +
                           "\r\n");
}

TEST_CASE("report takes settings with keys inside apart, as in a run's config") {
  const TemporaryDirectory directory;
  const Outcome plan = mixflow::mixflow(
      Args{"plan", "--json"} +
          tiny(
              {"--over", "gradient={mode: reverse, remat: {block: false}},{remat: {block: true}}"}),
      directory.path);
  REQUIRE(plan.code == 0);
  write_atomically(directory.path / "plan.json", plan.out);
  const auto rows = nlohmann::json::parse(plan.out).at("plans");
  const Outcome outcome =
      mixflow::mixflow({"report", "plan.json", "--rows", "gradient.mode,gradient.remat.block",
                        "--value", "dynamic_bytes", "--agg", "max", "--format", "csv"},
                       directory.path);
  CHECK(outcome.out == "gradient.mode,gradient.remat.block,runs,dynamic_bytes\r\nmixed,true,1," +
                           rows[1].at("dynamic_bytes").dump() + "\r\nreverse,false,1," +
                           rows[0].at("dynamic_bytes").dump() + "\r\n");
}

TEST_CASE("report without gnuplot has its tables, and says what is missing") {
  const TemporaryDirectory directory;
  train_runs(directory.path);
  const Outcome outcome =
      Process::shell("PATH=/nowhere \"$0\" report runs --format html", directory.path).wait();
  CHECK(outcome.code == 0);
  CHECK(has(outcome.err, "gnuplot-nox"));
  CHECK(has(outcome.out, "The plots are missing"));
  CHECK(has(outcome.out, "<table>"));
  CHECK(!has(outcome.out, "<figure>"));
}

TEST_CASE("report refuses what it cannot show, in one line that says why") {
  const TemporaryDirectory directory;
  train_runs(directory.path);
  const auto refused = [&](const Args& args, const std::string& part) {
    const Outcome outcome = mixflow::mixflow(Args{"report"} + args, directory.path);
    CHECK(outcome.code == 2);
    CHECK(outcome.out == "");
    CHECK_MESSAGE(has(outcome.err, part), outcome.err);
    CHECK(lines_of(outcome.err).size() == 1);
  };
  refused({"nothing"}, "nothing: no such file or directory");
  refused({"runs", "--rows", "gradient.mod"}, "did you mean gradient.mode?");
  refused({"runs", "--value", "step_sec"}, "did you mean step_s");
  refused({"runs", "--format", "pdf"}, "--format");
  refused({"runs", "--out", "r.pdf"}, "expected a name that ends in .md");
  refused({"runs", "--out", "none/r.md"}, "there is no directory none");
  refused({"runs", "--baseline", "gradient.mode"}, "expected key=value");
}
