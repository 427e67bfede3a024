// `mixflow sweep`: points, continuing, several processes, bad files.
#include <csignal>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include "process.h"
#include "sweep/claim.h"
#include "train/run_lock.h"

using namespace mixflow;

namespace {

// base.yaml, a short MAML, and s.yaml over it.
struct Sweep : TemporaryDirectory {
  explicit Sweep(const std::string& axes) {
    std::ofstream(*this / "base.yaml")
        << "data: {kind: sinusoid, shots: 5, queries: 5}\nmodel: {kind: mlp, hidden: [8]}\n"
           "meta:\n  parameters: [{kind: init}]\n  batch: 2\n  steps: 300\n  checkpoint_every: 50\n"
           "  eval: {every: 100, tasks: 4}\n";
    std::ofstream(*this / "s.yaml") << "base: base.yaml\n" << axes;
  }
  static Args args(const std::string& out) {
    return {"sweep", "s.yaml", "--out", out, "--threads", "1", "--quiet"};
  }
  Outcome run(const Args& more = {}, const std::string& out = "out") const {
    return mixflow::mixflow(args(out) + more, path);
  }
  std::vector<nlohmann::json> ledger(const std::string& out = "out") const {
    return json_lines(path / out / "ledger.jsonl");
  }
  // How often each point has been done.
  std::map<std::string, int> done(const std::string& out = "out") const {
    std::map<std::string, int> counts;
    for (const auto& record : ledger(out)) {
      counts[record.at("point")] += record.at("state") == "done";
    }
    return counts;
  }
};

const std::string kTwenty = "grid: {inner.steps: [1, 2]}\nseeds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n";

// For tests of sweeps that might wait for ever: 20 seconds at most.
Outcome wait_or_kill(Process& process) {
  for (int i = 0; i < 2000 && !process.has_ended(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  process.signal(SIGKILL);
  return process.wait();
}

// Held-out results of every point, whatever its process went through.
std::map<std::string, std::string> evaluations(const std::filesystem::path& sweep) {
  std::map<std::string, std::string> texts;
  for (const auto& entry : std::filesystem::directory_iterator(sweep / "points")) {
    texts[entry.path().filename()] = read_text(entry.path() / "eval.jsonl");
  }
  return texts;
}

void check_all_once(const Sweep& sweep, std::size_t points, const std::string& out = "out") {
  const auto done = sweep.done(out);
  CHECK(done.size() == points);
  for (const auto& [point, count] : done) {
    CAPTURE(point);
    CHECK(count == 1);
  }
}

}  // namespace

TEST_CASE("a sweep runs every point, and the same command again runs none") {
  const Sweep sweep(
      "grid: {inner.steps: [1, 2], inner.optimizer.lr: [0.01, 0.02]}\nwhen: lr < 0.02 or steps < "
      "2\n");
  const Outcome outcome = sweep.run({"--jobs", "2"});
  CHECK(outcome.code == 0);
  CHECK(outcome.err == "");
  CHECK(
      outcome.out.starts_with("s: ended: 3 of 3 points done, 0 failed, 0 skipped, 0 left\n"
                              "Best validation loss after 1 inner steps, one seed: "));
  check_all_once(sweep, 3);
  for (const auto& entry : std::filesystem::directory_iterator(sweep.path / "out/points")) {
    const auto files = listing(entry.path());
    for (const char* file : {"config.yaml", "point.json", "summary.json", "metrics.jsonl"}) {
      CHECK(std::ranges::find(files, file) != files.end());
    }
    const auto point = nlohmann::json::parse(read_text(entry.path() / "point.json"));
    CHECK(point.at("id") == entry.path().filename().string());
    CHECK(point.at("settings").contains("inner.optimizer.lr"));
  }
  const std::size_t records = sweep.ledger().size();
  const auto json = json_of(sweep.run({"--json"}));
  CHECK(json.at("done") == 3);
  CHECK(json.at("best")[0].at("loss").get<double>() > 0);
  CHECK(sweep.ledger().size() == records);
}

TEST_CASE("a dry run lists points with their plans and writes nothing") {
  const Sweep sweep(kTwenty);
  const auto files = listing(sweep.path);
  const auto json = json_of(sweep.run({"--dry-run", "--json"}));
  CHECK(json.at("points").size() == 20);
  CHECK(json.at("points")[0].at("dynamic_bytes").get<std::int64_t>() > 0);
  CHECK(json.at("points")[0].at("predicted_s").get<double>() > 0);
  const Outcome table = sweep.run({"--dry-run", "--shard", "2/3"});
  CHECK(table.code == 0);
  CHECK(std::ranges::count(table.out, '\n') == 9);  // header, 7 points, total
  CHECK(table.out.find("steps=1_seed=2-") != std::string::npos);
  CHECK(table.out.find("steps=1_seed=1-") == std::string::npos);
  CHECK(listing(sweep.path) == files);
}

TEST_CASE("a sweep that is killed again and again ends with the results of an undisturbed one" *
          doctest::skip(!kThorough)) {
  const Sweep sweep(kTwenty);
  REQUIRE(sweep.run({"--jobs", "2"}, "whole").code == 0);
  for (int kill = 0; kill < 3; ++kill) {
    Process process(Sweep::args("out") + Args{"--jobs", "2"}, sweep.path);
    std::this_thread::sleep_for(std::chrono::milliseconds(150 + 50 * kill));
    process.signal(SIGKILL);
    process.wait();
  }
  CHECK(sweep.run({"--jobs", "2"}).code == 0);
  check_all_once(sweep, 20);
  CHECK(evaluations(sweep.path / "out") == evaluations(sweep.path / "whole"));
}

TEST_CASE(
    "processes on one directory share the points, and take over those of one that is killed") {
  const Sweep sweep(kTwenty);
  Process killed(Sweep::args("out"), sweep.path);
  Process a(Sweep::args("out"), sweep.path), b(Sweep::args("out"), sweep.path);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  killed.signal(SIGKILL);
  killed.wait();
  CHECK(a.wait().code == 0);
  CHECK(b.wait().code == 0);
  check_all_once(sweep, 20);
  std::map<std::string, int> attempts;
  for (const auto& record : sweep.ledger()) {
    if (!record.contains("attempt")) continue;
    int& last = attempts[record.at("point")];
    CHECK(record.at("attempt").get<int>() >= last);
    last = record.at("attempt");
  }
}

TEST_CASE("shards run their points only" * doctest::skip(!kThorough)) {
  const Sweep sweep(kTwenty);
  CHECK(sweep.run({"--shard", "1/2"}).code == 0);
  const auto count = [&] {
    std::size_t all = 0;
    for (const auto& [point, times] : sweep.done()) all += static_cast<std::size_t>(times);
    return all;
  };
  CHECK(count() == 10);
  CHECK(sweep.run({"--shard", "2/2"}).code == 0);
  check_all_once(sweep, 20);
}

TEST_CASE("a point of a process on another machine is taken over when its heartbeats stay out") {
  const Sweep sweep("seeds: [1, 2]\n");
  REQUIRE(sweep.run({"--shard", "1/2"}).code == 0);
  const std::string point = sweep.ledger()[1].at("point");
  std::ofstream(sweep.path / "out/claims" / (point + ".1"))
      << R"({"host": "far", "boot": "other", "pid": 7})";
  std::ofstream(sweep / "out/ledger.jsonl", std::ios::app)
      << nlohmann::json{{"point", point}, {"state", "running"}, {"attempt", 1}, {"boot", "other"}}
      << "\n{\"torn";
  const auto start = std::chrono::steady_clock::now();
  CHECK(sweep.run({"--stale-after", "1"}).code == 0);
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::seconds(1));
  CHECK(read_text(sweep / "out/ledger.jsonl").find("{\"torn\n{\"time\"") != std::string::npos);
  CHECK(std::filesystem::exists(sweep.path / "out/claims" / (point + ".2")));
}

TEST_CASE("a point that somebody died at and that is too large here is skipped") {
  for (const std::string boot : {"other", "own"}) {
    CAPTURE(boot);
    const Sweep sweep("seeds: [1, 2]\n");
    CHECK(sweep.run({"--memory-limit", "1MiB"}).code == 1);
    const std::string point = sweep.ledger()[0].at("point");
    std::ofstream(sweep.path / "out/claims" / (point + ".1"))
        << nlohmann::json{{"boot", boot == "own" ? this_process().boot : boot}, {"pid", 7}};
    std::ofstream(sweep / "out/ledger.jsonl", std::ios::app)
        << nlohmann::json{{"point", point}, {"state", "running"}, {"attempt", 1}} << "\n";
    Process process(Sweep::args("out") + Args{"--memory-limit", "1MiB", "--stale-after", "1"},
                    sweep.path);
    const Outcome outcome = wait_or_kill(process);
    CHECK(outcome.code == 1);
    CHECK(outcome.out.starts_with("s: ended: 0 of 2 points done, 0 failed, 2 skipped, 0 left\n"));
    CHECK(sweep.ledger().back().at("state") == "skipped");
  }
}

TEST_CASE("a point whose run directory is in use is given back and tried again") {
  const Sweep sweep("seeds: [1]\n");
  const std::string point = json_of(sweep.run({"--dry-run", "--json"}))["points"][0].at("id");
  const std::filesystem::path run = sweep.path / "out/points" / point;
  std::filesystem::create_directories(run);
  auto lock = std::make_unique<RunLock>(run);
  Process process(Sweep::args("out") + Args{"--stale-after", "1"}, sweep.path);
  const auto has_record = [&](const std::string& text) {
    const std::string path = sweep / "out/ledger.jsonl";
    return std::filesystem::exists(path) && read_text(path).find(text) != std::string::npos;
  };
  const std::string given_back = R"("attempt":2,"reason":"its run directory is in use)";
  for (int i = 0; i < 2000 && !has_record(given_back) && !process.has_ended(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(has_record(given_back));
  lock.reset();
  CHECK(wait_or_kill(process).code == 0);
  CHECK_FALSE(has_record("\"failed\""));
  check_all_once(sweep, 1);
}

TEST_CASE("a point that fails is recorded, the others go on, and it can be tried again") {
  const Sweep sweep(
      "list: [{inner.optimizer.lr: 1e30}, {model.hidden: [9000, 9000]}, {seed: 5}]\nmemory: "
      "500MiB\n");
  const Outcome outcome = sweep.run();
  CHECK(outcome.code == 1);
  CHECK(outcome.out.starts_with("s: ended: 1 of 3 points done, 1 failed, 1 skipped, 0 left\n"));
  CHECK(outcome.out.find(": non_finite: meta-step 0: the held-out loss (test, after 1 inner steps) "
                         "is not finite") != std::string::npos);
  CHECK(outcome.out.find(": skipped: its process is planned to use ") != std::string::npos);
  const auto failures = [&] {
    return std::ranges::count_if(sweep.ledger(),
                                 [](const auto& record) { return record.at("state") == "failed"; });
  };
  CHECK(sweep.run().code == 1);
  CHECK(failures() == 1);
  CHECK(sweep.run({"--retry-failed"}).code == 1);
  CHECK(failures() == 2);
}

TEST_CASE("a failed point whose words are lost ends like any other") {
  const Sweep sweep("list: [{inner.optimizer.lr: 1e30}, {seed: 5}]\n");
  const std::string point = json_of(sweep.run({"--dry-run", "--json"}))["points"][0].at("id");
  std::filesystem::create_directories(sweep.path / "out/points" / point / "stderr.txt");
  const Outcome outcome = sweep.run();
  CHECK(outcome.out.starts_with("s: ended: 1 of 2 points done, 1 failed, 0 skipped, 0 left\n"));
  // The outcome file knows the reason, whatever becomes of what the process printed.
  CHECK_MESSAGE(outcome.out.find(point + ": non_finite: ") != std::string::npos, outcome.out);
}

TEST_CASE("a failure stays known when the point is too large for a retry") {
  const Sweep sweep("list: [{inner.optimizer.lr: 1e30}]\n");
  REQUIRE(sweep.run().code == 1);
  const std::size_t records = sweep.ledger().size();
  const Outcome outcome = sweep.run({"--retry-failed", "--memory-limit", "1MiB"});
  CHECK(outcome.code == 1);
  CHECK(outcome.out.starts_with("s: ended: 0 of 1 points done, 1 failed, 0 skipped, 0 left\n"));
  CHECK(outcome.out.find(": non_finite: ") != std::string::npos);
  CHECK(sweep.ledger().size() == records);
}

TEST_CASE("SIGINT lets running points write checkpoints and gives them back") {
  const Sweep sweep("grid: {meta.steps: [20000, 20001]}\nset: {meta.checkpoint_every: 100000}\n");
  Process process(Sweep::args("out"), sweep.path);
  // Those that have logged meta-steps: before the first there is nothing to keep.
  std::vector<std::filesystem::path> training;
  for (int i = 0; i < 6000 && training.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (!std::filesystem::exists(sweep.path / "out/points")) continue;
    for (const auto& point : std::filesystem::directory_iterator(sweep.path / "out/points")) {
      const std::filesystem::path metrics = point.path() / "metrics.jsonl";
      if (std::filesystem::exists(metrics) && std::filesystem::file_size(metrics) > 0)
        training.push_back(point);
    }
  }
  process.signal(SIGINT);
  const Outcome outcome = process.wait();
  CHECK(outcome.code == 130);
  CHECK(outcome.out.starts_with("s: interrupted: "));
  CHECK(sweep.ledger().back().at("reason") == "interrupted");
  REQUIRE_FALSE(training.empty());
  for (const std::filesystem::path& point : training)
    CHECK_FALSE(std::filesystem::is_empty(point / "checkpoints"));
}

TEST_CASE("a share of memory stays a share: machines of other sizes continue the sweep") {
  const Sweep sweep("seeds: [1]\nmemory: 50 %\n");
  REQUIRE(sweep.run().code == 0);
  CHECK(read_text(sweep / "out/sweep.yaml").find("\nmemory: 50%\n") != std::string::npos);
  CHECK(sweep.run().code == 0);
}

TEST_CASE("a sweep sees its points end where SIGCHLD is ignored") {
  const Sweep sweep("seeds: [1]\n");
  const auto before = std::signal(SIGCHLD, SIG_IGN);  // which the sweep inherits
  Process process(Sweep::args("out"), sweep.path);
  std::signal(SIGCHLD, before);
  CHECK(wait_or_kill(process).code == 0);
}

TEST_CASE("a sweep is extended, and what is done stays done") {
  const Sweep sweep("seeds: [1]\n");
  REQUIRE(sweep.run().code == 0);
  std::ofstream(sweep / "s.yaml")
      << "base: base.yaml\ngrid: {inner.optimizer.lr: [0.02, 0.01]}\nseeds: [1, 2]\n";
  CHECK(json_of(sweep.run({"--dry-run", "--json"})).at("points").size() == 4);
  check_all_once(sweep, 1);
  const Outcome outcome = sweep.run();
  CHECK(outcome.code == 0);
  CHECK(outcome.out.starts_with("s: ended: 4 of 4 points done"));
  check_all_once(sweep, 4);
}

TEST_CASE("a sweep that would lose or change a point is an error that says what differs") {
  const Sweep sweep("seeds: [1]\n");
  REQUIRE(sweep.run().code == 0);
  std::ofstream(sweep / "s.yaml") << "base: base.yaml\nseeds: [2]\n";
  CHECK(sweep.run().err ==
        "mixflow: s.yaml: has no point seed=1, which the sweep in out has; a sweep can be extended "
        "by values, seeds and points, but keeps those it has: add them again, or start anew with "
        "another --out\n");
  std::ofstream(sweep / "s.yaml") << "base: base.yaml\nseeds: [1]\n";
  std::ofstream(sweep / "base.yaml", std::ios::app) << "inner: {steps: 3}\n";
  const Outcome outcome = sweep.run();
  CHECK(outcome.code == 2);
  CHECK(outcome.err ==
        "mixflow: base.yaml: the base config has changed since the sweep in out began, and with it "
        "the point seed=1: inner.steps: it had \"steps: 1\", now \"steps: 3\". Restore it to "
        "continue, or start anew with another --out\n");
}

TEST_CASE("the shipped sweeps are sound") {
  const TemporaryDirectory directory;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(MIXFLOW_SOURCE_DIR) + "/configs/sweeps")) {
    CAPTURE(entry.path().string());
    CHECK(mixflow::mixflow({"sweep", entry.path().string(), "--dry-run"}, directory.path).code ==
          0);
    CHECK(read_text(entry.path()).starts_with("# "));
  }
}
