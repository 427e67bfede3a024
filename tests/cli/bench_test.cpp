// bench, and --over of plan, through the binary.
#include <cmath>
#include <map>

#include "process.h"

using namespace mixflow;

namespace {

Args bench(const Args& more) { return Args{"bench", "--reps", "3"} + tiny(more); }

const Args kGrid = {"--over", "inner.steps=1,2", "--over", "gradient.mode=reverse,mixed"};

}  // namespace

TEST_CASE(
    "bench fails after its table where a measured meta-step gives values that are not finite") {
  const TemporaryDirectory directory;
  const Args over = {"--over", "inner.optimizer.lr=0.01,1e30", "-s", "inner.steps=3"};
  const Outcome outcome = mixflow::mixflow(bench(over + Args{"--csv", "t.csv"}), directory.path);
  CHECK(outcome.code == 1);
  CHECK(has(outcome.err, "mixflow: run failed: combination 2/2 inner.optimizer.lr=1e30: the "));
  CHECK(has(outcome.err, "is not finite"));
  CHECK_FALSE(has(outcome.err, "combination 1/2"));
  CHECK(has(outcome.out, "inner.optimizer.lr"));  // the table
  CHECK(std::filesystem::exists(directory.path / "t.csv"));
}

TEST_CASE("bench --profile says where one more meta-step spent its time, op by op") {
  const TemporaryDirectory directory;
  const Args args = bench({"--profile", "-s", "threads=2"});
  const auto json = json_of(mixflow::mixflow(args + Args{"--json"}, directory.path));
  const nlohmann::json& profile = json.at("rows")[0].at("profile");
  CHECK(profile.at("threads") == 2);
  const double seconds = profile.at("seconds");
  CHECK(seconds > 0);
  double share = 0, flop = 0;
  Args ops;
  for (const nlohmann::json& line : profile.at("ops")) {
    ops.push_back(line.at("what"));
    share += line.at("share").get<double>();
    flop += line.at("flop").get<double>();
    CHECK(line.at("seconds").get<double>() ==
          doctest::Approx(line.at("share").get<double>() * 2 * seconds));
  }
  CHECK(share == doctest::Approx(1));
  CHECK(flop == doctest::Approx(json.at("rows")[0].at("flop").get<double>()));
  CHECK(std::ranges::find(ops, "fused") != ops.end());
  CHECK(std::ranges::find(ops, "idle") != ops.end());
  const Outcome text = mixflow::mixflow(args, directory.path);
  CHECK(has(text.out, "of peak"));
}

TEST_CASE("bench measures every combination: planned bytes are measured, ratios are to the first") {
  const TemporaryDirectory directory;
  const Outcome outcome = mixflow::mixflow(bench(kGrid + Args{"--json"}), directory.path);
  CHECK(outcome.code == 0);
  const auto json = json_of(outcome);
  CHECK(json.at("config") == shipped("quickstart.yaml"));
  CHECK(json.at("interleaved") == true);
  CHECK(json.at("interrupted") == false);
  const auto& machine = json.at("machine");
  CHECK(machine.at("threads") == 2);
  CHECK(machine.at("matmul_gflops").get<double>() > 0);
  CHECK(machine.at("ram_bytes").get<double>() >= json.at("memory_limit_bytes").get<double>());
  const auto& rows = json.at("rows");
  REQUIRE(rows.size() == 4);
  const double first = rows[0].at("step_s").at("median");
  Args order;
  for (const nlohmann::json& row : rows) {
    order.push_back(row.at("settings").at("inner.steps").get<std::string>() +
                    row.at("settings").at("gradient.mode").get<std::string>());
    CHECK(row.at("measured") == true);
    CHECK(row.at("reason").is_null());
    CHECK(row.at("arena_peak_bytes") == row.at("dynamic_bytes"));
    CHECK(row.at("rss_bytes") > row.at("dynamic_bytes"));
    const auto all = row.at("step_s").at("all").get<std::vector<double>>();
    REQUIRE(all.size() == 3);
    auto sorted = all;
    std::ranges::sort(sorted);
    CHECK(sorted[0] > 0);
    CHECK(row.at("step_s").at("min") == sorted[0]);
    CHECK(row.at("step_s").at("median") == sorted[1]);
    CHECK(row.at("step_s").at("max") == sorted[2]);
    CHECK(row.at("time_ratio").get<double>() == doctest::Approx(sorted[1] / first));
    CHECK(row.at("memory_ratio").get<double>() ==
          doctest::Approx(row.at("dynamic_bytes").get<double>() /
                          rows[0].at("dynamic_bytes").get<double>()));
    CHECK(row.at("gflops").get<double>() ==
          doctest::Approx(row.at("model_flop").get<double>() / sorted[1] * 1e-9));
    CHECK(row.at("mfu").get<double>() ==
          doctest::Approx(row.at("gflops").get<double>() /
                          machine.at("matmul_gflops").get<double>()));
  }
  CHECK(order == Args{"1reverse", "1mixed", "2reverse", "2mixed"});
  CHECK(directory.entries() == 0);
}

TEST_CASE("bench prints an aligned table, and progress on stderr unless it is quiet") {
  const TemporaryDirectory directory;
  const Outcome outcome = mixflow::mixflow(bench(kGrid), directory.path);
  CHECK(outcome.code == 0);
  CHECK(has(outcome.out, "3 repetitions after 1 warm-up, interleaved over the combinations"));
  std::istringstream lines(outcome.out);
  std::size_t width = 0;
  std::size_t rows = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("inner.steps  gradient.mode  ")) width = line.size();
    if (line.starts_with("1  ") || line.starts_with("2  ")) {
      ++rows;
      CHECK(line.size() == width);
      CHECK(has(line, "KiB"));
    }
  }
  CHECK(rows == 4);
  CHECK(has(outcome.err, "4/4 inner.steps=2 gradient.mode=mixed: "));
  CHECK(has(outcome.err, "round 3/3: "));
  const Outcome quiet = mixflow::mixflow(bench({"--quiet"}), directory.path);
  CHECK(quiet.code == 0);
  CHECK(quiet.err == "");
}

TEST_CASE("bench only plans what exceeds the memory limit, and says so") {
  const TemporaryDirectory directory;
  const Args over = {"--over", "meta.batch=4,100000"};
  const auto full = json_of(mixflow::mixflow(Args{"plan", "--json"} + tiny(over), directory.path));
  const auto needed = full.at("plans")[1].at("static_bytes").get<std::int64_t>() +
                      full.at("plans")[1].at("dynamic_bytes").get<std::int64_t>() + (64 << 20);
  const auto limited = [&](std::int64_t bytes) {
    return bench(over + Args{"--memory-limit", std::to_string(bytes) + "B"});
  };
  const auto json = json_of(mixflow::mixflow(limited(needed - 1) + Args{"--json"}, directory.path));
  const auto& rows = json.at("rows");
  CHECK(rows[0].at("measured") == true);
  CHECK(rows[1].at("measured") == false);
  CHECK(has(rows[1].at("reason"), "planned only: needs "));
  for (const char* key : {"step_s", "arena_peak_bytes", "rss_bytes", "gflops", "mfu", "time_ratio"})
    CHECK_MESSAGE(rows[1].at(key).is_null(), key);
  CHECK(rows[1].at("dynamic_bytes") == full.at("plans")[1].at("dynamic_bytes"));
  CHECK(rows[1].at("memory_ratio").get<double>() ==
        rows[1].at("dynamic_bytes").get<double>() / rows[0].at("dynamic_bytes").get<double>());
  const Outcome text = mixflow::mixflow(limited(needed - 1), directory.path);
  CHECK(text.code == 0);
  CHECK(has(text.out, "planned only: needs "));
}

TEST_CASE("bench measures one combination after the other where they do not fit together") {
  const TemporaryDirectory directory;
  const Args args = bench({"--over", "inner.steps=1,2", "--memory-limit", "100MiB"});
  const auto json = json_of(mixflow::mixflow(args + Args{"--json"}, directory.path));
  CHECK(json.at("interleaved") == false);
  for (const nlohmann::json& row : json.at("rows")) {
    CHECK(row.at("measured") == true);
    CHECK(row.at("step_s").at("all").size() == 3);
  }
  const Outcome text = mixflow::mixflow(args, directory.path);
  CHECK(has(text.out, "one combination after the other"));
}

TEST_CASE("bench writes one line of CSV per repetition, quoted where values hold commas") {
  const TemporaryDirectory directory;
  const Outcome outcome = mixflow::mixflow(
      bench({"--csv", "a.csv", "--over", "model.hidden=[4, 4],[8]", "--json"}), directory.path);
  CHECK(outcome.code == 0);
  const auto json = json_of(outcome);
  std::istringstream csv(read_text(directory / "a.csv"));
  std::string line;
  std::getline(csv, line);
  CHECK(line.starts_with("model.hidden,repetition,step_s,steps_per_rep,mode,threads,"));
  for (std::size_t row = 0; row < 2; ++row) {
    for (std::size_t rep = 0; rep < 3; ++rep) {
      REQUIRE(std::getline(csv, line));
      const std::string start = (row == 0 ? "\"[4, 4]\"," : "[8],") + std::to_string(rep + 1) + ",";
      REQUIRE(line.starts_with(start));
      CHECK(std::stod(line.substr(start.size())) ==
            doctest::Approx(json.at("rows")[row].at("step_s").at("all")[rep].get<double>()));
    }
  }
  CHECK_FALSE(std::getline(csv, line));
}

TEST_CASE("bench and plan name the combination that the config rejects, and run none") {
  const TemporaryDirectory directory;
  for (const char* command : {"bench", "plan"}) {
    CAPTURE(command);
    const auto refused = [&](const Args& more) {
      const Outcome outcome = mixflow::mixflow(Args{command} + tiny(more), directory.path);
      CHECK(outcome.code == 2);
      CHECK(outcome.out == "");
      return outcome.err;
    };
    CHECK(
        has(refused({"--over", "seed=1,2", "--over", "inner.steps=2,x"}),
            "mixflow: combination seed=1 inner.steps=x: -s inner.steps=x: inner.steps: expected "));
    CHECK(
        has(refused({"--over", "gradient.chunk=1,3"}), "mixflow: combination gradient.chunk=3: "));
    CHECK(has(refused({"--over", "inner.steps"}), "--over inner.steps: expected key.path=value"));
  }
  const auto refused = [&](const Args& more) {
    const Outcome outcome = mixflow::mixflow(bench(more), directory.path);
    CHECK(outcome.code == 2);
    CHECK(outcome.out == "");
    return outcome.err;
  };
  CHECK(has(refused({"--memory-limit", "12G"}), "bench: --memory-limit: expected an amount"));
  CHECK(has(refused({"--csv", "no/where.csv"}), "there is no directory no"));
  CHECK(has(refused({"--warmup", "0"}), "--warmup"));
  CHECK(directory.entries() == 0);
}

TEST_CASE("an interrupted bench ends with what it has measured") {
  const TemporaryDirectory directory;
  Process process(
      Args{"bench"} + tiny({"--over", "inner.steps=1,2", "--reps", "1000000", "--json"}),
      directory.path);
  process.wait_for("warmed up");
  process.signal(SIGINT);
  const Outcome outcome = process.wait();
  CHECK(outcome.code == 130);
  const auto json = json_of(outcome);
  CHECK(json.at("interrupted") == true);
  REQUIRE(json.at("rows").size() == 2);
  for (const nlohmann::json& row : json.at("rows")) {
    CHECK(row.at("reason") == "interrupted");
    if (row.at("measured") == true) CHECK(row.at("step_s").at("all").size() < 1000000);
  }
}

TEST_CASE("bench runs each combination with its own threads") {
  const TemporaryDirectory directory;
  const Args args = bench({"--over", "threads=2,1", "--json"});
  const auto json = json_of(mixflow::mixflow(args, directory.path));
  CHECK(json.at("machine").at("threads") == 2);
  CHECK(json.at("rows")[0].at("threads") == 2);
  CHECK(json.at("rows")[1].at("threads") == 1);
  for (const nlohmann::json& row : json.at("rows"))
    CHECK(row.at("arena_peak_bytes") == row.at("dynamic_bytes"));
}

TEST_CASE("plan --over gives the plans that each combination has alone") {
  const TemporaryDirectory directory;
  const auto json = json_of(mixflow::mixflow(Args{"plan", "--json"} + tiny(kGrid), directory.path));
  REQUIRE(json.at("plans").size() == 4);
  for (const nlohmann::json& row : json.at("plans")) {
    Args settings;
    for (const auto& [key, value] : row.at("settings").items())
      settings.push_back(key + "=" + value.get<std::string>());
    CHECK(settings.size() == 2);
    const auto alone =
        json_of(mixflow::mixflow(Args{"plan", "--json"} + tiny(set(settings)), directory.path));
    const auto& plan = alone.at("plans")[0];
    CHECK(plan.at("settings").empty());
    for (const char* key : {"mode", "static_bytes", "dynamic_bytes", "reverse_dynamic_bytes",
                            "flop", "model_flop", "nodes"})
      CHECK_MESSAGE(plan.at(key) == row.at(key), key);
  }
  const Outcome text = mixflow::mixflow(Args{"plan"} + tiny(kGrid), directory.path);
  CHECK(has(text.out, "inner.steps  gradient.mode  mode"));
}
