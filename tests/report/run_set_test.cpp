#include "report/run_set.h"

#include <doctest/doctest.h>

#include "report/read_run.h"
#include "report/report.h"
#include "report/values.h"
#include "runs.h"
#include "util/error.h"

using namespace mixflow;

TEST_CASE("configs become keys by dotted path, lists of plain values one value") {
  const auto keys = flat_config(
      "seed: 1\nmodel: {hidden: [40, 40]}\nmeta: {parameters: [{kind: init, bounds: null}]}\n",
      "f");
  REQUIRE(keys.size() == 4);
  CHECK(keys[1] == std::pair<std::string, std::string>("model.hidden", "[40, 40]"));
  CHECK(keys[2] == std::pair<std::string, std::string>("meta.parameters[0].kind", "init"));
  CHECK(keys[3].second == "null");
}

TEST_CASE("axes are the keys that differ, numbers by size, without the seed") {
  const TemporaryDirectory directory;
  write_grid(directory.path);
  const RunSet runs = run_set(directory.path);
  CHECK(runs.size() == 12);
  CHECK(runs.num_configurations() == 4);
  CHECK(runs.num_seeds() == 3);
  REQUIRE(runs.axes().size() == 2);
  CHECK(runs.axes()[0]->name == "inner.steps");
  CHECK(runs.axes()[0]->texts == std::vector<std::string>{"2", "10"});
  CHECK(runs.axes()[0]->numeric);
  CHECK(runs.axes()[1]->name == "gradient.mode");
}

TEST_CASE("a key that differs exactly where another does is no axis of its own") {
  const TemporaryDirectory directory;
  write_run(directory.path / "a", finished("seed: 1\nx: 1\ny: one\nz: [1]\n", 1, 1));
  write_run(directory.path / "b", finished("seed: 1\nx: 2\ny: two\n", 1, 1));
  const RunSet runs = run_set(directory.path);
  REQUIRE(runs.axes().size() == 1);
  CHECK(runs.axes()[0]->name == "x");
  REQUIRE(runs.followers().size() == 2);
  CHECK(runs.followers()[0] == std::pair<std::string, std::string>("y", "x"));
  CHECK(runs.key("z", "test").texts == std::vector<std::string>{"[1]", std::string(kAbsent)});
}

TEST_CASE("names of runs divide neither configurations nor seeds") {
  const TemporaryDirectory directory;
  for (const std::string mode : {"mixed", "reverse"}) {
    for (const std::string seed : {"1", "2"}) {
      const std::string name = mode + seed;
      write_run(directory.path / name,
                finished("name: " + name + "\nseed: " + seed + "\ngradient: {mode: " + mode + "}\n",
                         1, mode == "mixed" ? 100 : 400));
    }
  }
  const RunSet runs = run_set(directory.path);
  CHECK(runs.num_configurations() == 2);
  REQUIRE(runs.axes().size() == 1);
  CHECK(runs.axes()[0]->name == "gradient.mode");
  CHECK(runs.followers().empty());
  ReportOptions options{.paths = {directory.path.string()},
                        .format = ReportFormat::csv,
                        .values = {"dynamic_bytes"},
                        .baseline = {"gradient.mode=reverse"}};
  CHECK(
      make_report(options).text ==
      "gradient.mode,runs,dynamic_bytes,dynamic_bytes_n,dynamic_bytes_ci95,dynamic_bytes_ratio\r\n"
      "mixed,2,100,2,0,0.25\r\nreverse,2,400,2,0,1\r\n");
  options.baseline = {};
  options.rows = {"name"};
  CHECK(make_report(options).text.find("mixed2,1,100") != std::string::npos);
}

TEST_CASE("list items are found by both spellings, unknown keys name the nearest") {
  const TemporaryDirectory directory;
  write_run(directory.path / "a",
            finished("seed: 1\nmeta: {parameters: [{kind: init}], steps: 3}\n", 1, 1));
  const RunSet runs = run_set(directory.path);
  CHECK(runs.find_key("meta.parameters.0.kind") == runs.find_key("meta.parameters[0].kind"));
  CHECK(message_of<UserError>([&] { runs.key("meta.stepz", "report: --rows"); }) ==
        "report: --rows: no config has the key \"meta.stepz\"; did you mean meta.steps?");
}

TEST_CASE("runs are found at any depth, and those that did not finish keep their state") {
  const TemporaryDirectory directory;
  write_run(directory.path / "deep/er/done", finished("seed: 1\n", 1, 1));
  write_run(directory.path / "going", {.metrics = {R"({"step":7,"meta_loss":1})"}});
  write_run(directory.path / "stopped",
            {.summary = R"({"interrupted": true, "steps": 5, "step_s": 1})"});
  write_run(directory.path / "broken", {.summary = "{\"inter"});
  write_run(directory.path / "diverged", {});
  write_atomically(directory.path / "diverged/log.txt",
                   "2026-11-25 08:34:46 info: a\n2026-11-25 08:34:46 error: not finite\n");
  const std::vector<RunRecord> runs = find_runs({directory.path.string(), directory / "going"});
  REQUIRE(runs.size() == 5);
  const auto at = [&](const std::string& name) -> const RunRecord& {
    for (const RunRecord& run : runs) {
      if (run.name == directory / name) return run;
    }
    throw std::logic_error("no run " + name);
  };
  CHECK(at("deep/er/done").state == RunState::finished);
  CHECK(at("going").state == RunState::unfinished);
  CHECK(at("going").note == "no summary.json; metrics end at meta-step 7");
  CHECK(*at("going").value("meta_loss") == 1);
  CHECK(at("stopped").state == RunState::interrupted);
  CHECK(at("broken").state == RunState::unreadable);
  CHECK(at("diverged").state == RunState::failed);
  CHECK(at("diverged").note == "not finite");
}

TEST_CASE("a sweep's ledger names failed points and those that were never started") {
  const TemporaryDirectory directory;
  write_run(directory.path / "points/a", finished("seed: 1\n", 1, 1));
  write_run(directory.path / "points/b", {});
  write_atomically(directory.path / "points.jsonl",
                   "{\"id\": \"a\"}\n{\"id\": \"b\"}\n{\"id\": \"c\"}\n{\"id\": \"d\"}\n");
  write_atomically(directory.path / "ledger.jsonl",
                   "{\"point\": \"a\", \"state\": \"done\"}\n"
                   "{\"point\": \"b\", \"state\": \"running\"}\n"
                   "{\"point\": \"b\", \"state\": \"failed\", \"reason\": \"out of memory\"}\n"
                   "{\"point\": \"d\", \"state\": \"skipped\", \"reason\": \"no room\"}\n{\"poi");
  const std::vector<RunRecord> runs = find_runs({directory.path.string()});
  REQUIRE(runs.size() == 4);
  CHECK(runs[0].state == RunState::finished);
  CHECK(runs[1].state == RunState::failed);
  CHECK(runs[1].note == "out of memory");
  CHECK(runs[2].note == "not started");
  CHECK(runs[3].note == "skipped: no room");
}

TEST_CASE("a ledger's last word is the sweep's: nothing of older attempts or after done") {
  const TemporaryDirectory directory;
  write_atomically(directory.path / "points.jsonl", "{\"id\": \"a\"}\n{\"id\": \"b\"}\n");
  write_atomically(directory.path / "ledger.jsonl",
                   "{\"point\": \"a\", \"state\": \"running\", \"attempt\": 2}\n"
                   "{\"point\": \"a\", \"state\": \"failed\", \"attempt\": 1}\n"
                   "{\"point\": \"b\", \"state\": \"done\", \"attempt\": 1}\n"
                   "{\"point\": \"b\", \"state\": \"failed\", \"attempt\": 2}\n");
  const std::vector<RunRecord> runs = find_runs({directory.path.string()});
  REQUIRE(runs.size() == 2);
  CHECK(runs[0].state == RunState::unfinished);
  CHECK(runs[0].note.starts_with("running"));
  CHECK(runs[1].state == RunState::unfinished);
}

TEST_CASE("paths without results are errors") {
  const TemporaryDirectory directory;
  CHECK(message_of<UserError>([&] {
          find_runs({directory / "none"});
        }).ends_with("none: no such file or directory"));
  write_atomically(directory.path / "x.json", "{\"a\": 1}");
  CHECK(message_of<UserError>([&] {
          find_runs({directory.path.string()});
        }).find("no results below it") != std::string::npos);
  CHECK(message_of<UserError>([&] {
          find_runs({directory / "x.json"});
        }).find("expected a run directory") != std::string::npos);
}

TEST_CASE("runs with different numbers of inner steps share what each has after its own") {
  const TemporaryDirectory directory;
  for (const int steps : {2, 5}) {
    const std::string after = std::to_string(steps);
    write_run(directory.path / after,
              {.config = config_text("mixed", steps, 1),
               .summary = R"({"name": "a", "mode": "mixed", "steps": 3, "interrupted": false,
                   "best": null, "eval_after": {"step": 3, "split": "test", "tasks": 4, "points": [
                   {"inner_steps": 0, "loss": 9}, {"inner_steps": )" +
                          after + R"(, "loss": 0.)" + after + "}]}}"});
  }
  const RunSet runs = run_set(directory.path);
  CHECK(runs.run(0).value("eval_after.loss_after_T") == 0.2);
  CHECK(runs.run(1).value("eval_after.loss_after_T") == 0.5);
  CHECK_FALSE(runs.has_number("best"));  // of an evaluation that was not made
  CHECK(default_values(runs).front() == "eval_after.loss_after_T");
}

TEST_CASE("the same config and seed, found in two places, counts once") {
  const TemporaryDirectory directory;
  write_grid(directory.path / "one");
  write_run(directory.path / "two" / "again", finished(config_text("mixed", 2, 1), 7, 1));
  write_run(directory.path / "two" / "other", finished(config_text("mixed", 2, 4), 7, 1));
  const Report report = make_report({.paths = {directory.path.string()}});
  CHECK(report.text.find("14 runs: 14 finished; 4 configurations, 4 seeds") != std::string::npos);
  REQUIRE(report.warnings.size() == 1);
  CHECK(report.warnings[0].find("1 of 14 runs are not counted") != std::string::npos);
  CHECK(report.warnings[0].find("the same config and seed as ") != std::string::npos);
}
