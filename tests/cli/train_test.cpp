// `mixflow train`: the run directory, and how runs end.
#include <cmath>
#include <fstream>
#include <map>
#include <set>
#include <tuple>

#include "../util/events.h"
#include "data/safetensors.h"
#include "process.h"

using namespace mixflow;

namespace {

const Args kTimes = {"step_s", "wall_s", "gflops", "mfu", "examples_per_s", "rss_bytes"};

// metrics.jsonl without what depends on time.
std::vector<nlohmann::json> timeless_metrics(const std::filesystem::path& run) {
  auto lines = json_lines(run / "metrics.jsonl");
  for (nlohmann::json& line : lines)
    for (const std::string& key : kTimes) line.erase(key);
  return lines;
}

std::vector<ReadEvent> events_of(const std::filesystem::path& run) {
  return read_events(read_text(run / kEventsFile));
}

// Step, version and scalars of each event, without what depends on time.
auto timeless_events(const std::filesystem::path& run) {
  std::vector<std::tuple<std::int64_t, std::string, std::map<std::string, float>>> events;
  for (ReadEvent& event : events_of(run)) {
    event.scalars.erase("step_s");
    events.emplace_back(event.step, event.file_version, event.scalars);
  }
  return events;
}

std::string checkpoint_name(int step) {
  char name[64];
  std::snprintf(name, sizeof name, "checkpoints/step-%010d.safetensors", step);
  return name;
}

// Metrics, evaluations, events and tensors of two runs of `steps` meta-steps are equal to the last
// bit.
void check_same_run(const std::filesystem::path& a, const std::filesystem::path& b, int steps) {
  CHECK(timeless_metrics(a) == timeless_metrics(b));
  CHECK(read_text(a / "eval.jsonl") == read_text(b / "eval.jsonl"));
  CHECK(timeless_events(a) == timeless_events(b));
  const TensorFile x = read_safetensors(a / checkpoint_name(steps));
  const TensorFile y = read_safetensors(b / checkpoint_name(steps));
  CHECK(x.tensors.size() > 3);
  CHECK(x.tensors == y.tensors);
  const auto summary = [](const std::filesystem::path& run) {
    auto json = nlohmann::json::parse(read_text(run / "summary.json"));
    for (const char* key :
         {"seconds", "first_step_s", "step_s", "eval_s", "gflops", "mfu", "peak_rss_bytes"}) {
      CHECK(json.at(key).is_number());
      json.erase(key);
    }
    // As each config names them.
    if (json.contains("data"))
      for (auto& file : json["data"]["files"]) file.erase("path");
    return json;
  };
  CHECK(summary(a) == summary(b));
}

constexpr int kLongSteps = kThorough ? 12000 : 2000;

// A run whose length lets a signal arrive in its middle.
Args longer(const std::string& out) {
  return Args{"train"} +
         tiny(set({"meta.steps=" + std::to_string(kLongSteps), "meta.checkpoint_every=200",
                   "meta.eval.every=1000", "model.hidden=[32, 32]", "threads=1"})) +
         Args{"--quiet", "--out", out};
}

// The same without a break, in a directory that lives as long as the tests.
const std::filesystem::path& uninterrupted() {
  static const TemporaryDirectory directory;
  static const std::filesystem::path run = [] {
    CHECK(mixflow::mixflow(longer("whole"), directory.path).code == 0);
    return directory.path / "whole";
  }();
  return run;
}

// c.yaml: 5 meta-steps on two classes of points.csv.
void write_classes(const std::filesystem::path& directory) {
  std::ofstream csv(directory / "points.csv");
  csv << "u,v,target\n";
  for (int row = 0; row < 40; ++row) csv << row % 7 << "," << row % 5 << "," << row % 2 << "\n";
  std::ofstream(directory / "c.yaml")
      << "data: {kind: tabular, x: points.csv, target_column: target}\n"
         "model: {kind: mlp, hidden: [4]}\n"
         "inner: {loss: cross_entropy, steps: 2}\n"
         "meta: {parameters: [{kind: lr}], steps: 5, eval: {every: 2}}\n";
}

void wait_for_file(const std::filesystem::path& path) {
  for (int i = 0; i < 60000 && !std::filesystem::exists(path); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(std::filesystem::exists(path));
}

}  // namespace

TEST_CASE(
    "a run directory holds the resolved config, metrics, evaluations, events, a summary, a log and "
    "checkpoints") {
  const TemporaryDirectory directory;
  const Outcome outcome = mixflow::mixflow(Args{"train", "--out", "run"} + tiny(), directory.path);
  CHECK(outcome.code == 0);
  CHECK(outcome.out.find("quickstart: done after 12 meta-steps") == 0);
  CHECK(outcome.out.find("Run directory: run\n") != std::string::npos);
  const auto run = directory.path / "run";
  std::vector<std::string> files = listing(run);
  // The step of the best evaluation depends on the losses.
  CHECK(std::erase_if(files, [](const std::string& name) {
          return name.starts_with("checkpoints/best/step-");
        }) == 1);
  CHECK(files == Args{"checkpoints", "checkpoints/best", checkpoint_name(8), checkpoint_name(12),
                      "config.yaml", "eval.jsonl", std::string(kEventsFile), "lock", "log.txt",
                      "metrics.jsonl", "summary.json"});

  const auto metrics = json_lines(run / "metrics.jsonl");
  REQUIRE(metrics.size() == 12);
  double steps_s = 0;
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    const nlohmann::json& line = metrics[i];
    CHECK(line.at("step") == i + 1);
    for (const char* key : {"meta_loss", "inner_loss_first", "inner_loss_last", "meta_grad_norm",
                            "meta_lr", "step_s", "wall_s", "gflops", "mfu", "examples_per_s",
                            "static_bytes", "dynamic_bytes", "arena_peak_bytes", "rss_bytes"}) {
      CHECK_MESSAGE(line.at(key).is_number(), key);
      CHECK_MESSAGE(line.at(key).get<double>() > 0, key);
    }
    CHECK(line.at("dynamic_bytes") == line.at("arena_peak_bytes"));
    if (i > 0) CHECK(line.at("wall_s").get<double>() >= metrics[i - 1].at("wall_s").get<double>());
    steps_s += line.at("step_s").get<double>();
  }

  const auto evals = json_lines(run / "eval.jsonl");
  // Validation tasks along the way, test tasks at both ends.
  REQUIRE(evals.size() == 6);
  for (std::size_t i = 0; i < evals.size(); ++i) {
    CHECK(evals[i].at("step") == std::vector<int>{0, 0, 5, 10, 12, 12}[i]);
    CHECK(evals[i].at("split") == (i == 0 || i == 4 ? "test" : "validation"));
    CHECK(evals[i].at("tasks") == 4);
    CHECK(evals[i].at("points").size() == 3);
  }
  const auto summary = nlohmann::json::parse(read_text(run / "summary.json"));
  CHECK(summary.at("steps") == 12);
  CHECK(summary.at("interrupted") == false);
  CHECK(summary.at("eval_before") == evals.front());
  CHECK(summary.at("eval_after") == evals[4]);
  CHECK(evals[0].at("points") != evals[1].at("points"));
  CHECK(summary.at("dynamic_bytes") == summary.at("arena_peak_bytes"));
  CHECK(summary.at("first_step_s").get<double>() > 0);
  // Neither evaluations nor checkpoints count as meta-steps.
  CHECK(summary.at("step_s").get<double>() == doctest::Approx(steps_s / 12));

  const std::string log = read_text(run / "log.txt");
  for (const char* part :
       {"info: mixflow ", ": quickstart, mode mixed, f32, 2 threads, kernels ",
        "info: plan: static ", "info: meta-step 0: test, 4 tasks: loss ",
        "info: meta-step 5: validation, 4 tasks: loss ", "info: meta-step 12: test, 4 tasks: loss ",
        "info: done: meta-step 12, "}) {
    CHECK_MESSAGE(log.find(part) != std::string::npos, part);
  }
}

TEST_CASE("a run's TensorBoard events hold the numbers of its metrics and evaluations") {
  const TemporaryDirectory directory;
  write_classes(directory.path);
  const std::map<std::string, Args> runs = {{"sinusoid", tiny()}, {"classes", {"c.yaml"}}};
  for (const auto& [name, config] : runs) {
    const auto run = directory.path / name;
    CHECK(mixflow::mixflow(Args{"train", "--out", name} + config, directory.path).code == 0);

    std::map<std::string, std::map<std::int64_t, float>> expected, found;
    const auto expect = [&](const std::string& tag, const nlohmann::json& line,
                            const nlohmann::json& value) {
      expected[tag][line.at("step")] = static_cast<float>(value.get<double>());
    };
    for (const nlohmann::json& line : json_lines(run / "metrics.jsonl")) {
      expect("inner_loss/first", line, line.at("inner_loss_first"));
      expect("inner_loss/last", line, line.at("inner_loss_last"));
      for (const char* same : {"meta_loss", "meta_grad_norm", "meta_lr", "step_s"})
        expect(same, line, line.at(same));
    }
    for (const nlohmann::json& line : json_lines(run / "eval.jsonl")) {
      for (const nlohmann::json& point : line.at("points")) {
        const std::string after = "_after_" + point.at("inner_steps").dump();
        const std::string split = line.at("split");
        expect(split + "/loss" + after, line, point.at("loss"));
        if (point.contains("accuracy"))
          expect(split + "/accuracy" + after, line, point.at("accuracy"));
      }
    }
    const std::vector<ReadEvent> events = events_of(run);
    CHECK(events.front().file_version == "brain.Event:2");
    for (std::size_t i = 1; i < events.size(); ++i) {
      CHECK(events[i].wall_time > 1.6e9);  // in seconds since 1970: later than 2020
      CHECK(events[i].file_version == "");
      for (const auto& [tag, value] : events[i].scalars) {
        const bool is_new = found[tag].emplace(events[i].step, value).second;
        CHECK_MESSAGE(is_new, tag);
      }
    }
    CHECK(found == expected);
    // The outer loss of a table trains on its validation rows: they are not held out.
    CHECK(found.contains("validation/loss_after_1") == (name == "sinusoid"));
    CHECK(found.contains("test/accuracy_after_2") == (name == "classes"));
  }
}

TEST_CASE("training from a run's config.yaml gives the same run, from any directory") {
  const TemporaryDirectory directory;
  std::filesystem::create_directories(directory.path / "a/b");
  write_classes(directory.path / "a");
  CHECK(mixflow::mixflow({"train", "a/c.yaml", "--out", "one"}, directory.path).code == 0);
  const Outcome again = mixflow::mixflow({"train", "../../one/config.yaml", "--out", "../../two"},
                                         directory.path / "a/b");
  CHECK_MESSAGE(again.code == 0, again.err);
  check_same_run(directory.path / "one", directory.path / "two", 5);
  // The same file under another name is no other configuration.
  const Outcome resumed =
      mixflow::mixflow({"train", "c.yaml", "--out", "../one", "--resume"}, directory.path / "a");
  CHECK_MESSAGE(resumed.code == 0, resumed.err);
}

TEST_CASE(
    "a directory that holds a run is not overwritten, and resumed only with the same config") {
  const TemporaryDirectory directory;
  const Args train = Args{"train", "--out", "run"} + tiny();
  CHECK(mixflow::mixflow(train, directory.path).code == 0);
  const auto files = listing(directory.path);
  const std::string metrics = read_text(directory / "run/metrics.jsonl");

  const Outcome again = mixflow::mixflow(train, directory.path);
  CHECK(again.code == 2);
  CHECK(again.err ==
        "mixflow: run: holds a run already: continue it with --resume, replace it with "
        "--overwrite, or choose another --out (run-2 is free)\n");
  const Outcome other =
      mixflow::mixflow(train + set({"meta.optimizer.lr=0.5"}) + Args{"--resume"}, directory.path);
  CHECK(other.code == 2);
  CHECK(other.err ==
        "mixflow: run/config.yaml: the run was started with another configuration: "
        "meta.optimizer.lr: it had \"lr: 0.001\", now \"lr: 0.5\". Resume with the same config, or "
        "start anew with another "
        "--out\n");
  CHECK(listing(directory.path) == files);
  CHECK(read_text(directory / "run/metrics.jsonl") == metrics);
}

TEST_CASE("resuming a run that has ended succeeds and changes nothing") {
  const TemporaryDirectory directory;
  const Args train = Args{"train", "--out", "run", "--json"} + tiny();
  const Outcome first = mixflow::mixflow(train, directory.path);
  const auto contents = [&] {
    std::vector<std::string> all;
    for (const std::string& name : listing(directory.path / "run")) {
      const auto file = directory.path / "run" / name;
      if (std::filesystem::is_regular_file(file)) all.push_back(read_text(file));
    }
    return all;
  };
  const std::vector<std::string> before = contents();
  const Outcome resumed = mixflow::mixflow(train + Args{"--resume"}, directory.path);
  CHECK(resumed.code == 0);
  CHECK(resumed.out == first.out);
  CHECK(contents() == before);
}

TEST_CASE("a run that was killed resumes with the same bits") {
  const TemporaryDirectory directory;
  Process process(longer("killed"), directory.path);
  wait_for_file(directory.path / "killed" / checkpoint_name(400));
  process.signal(SIGKILL);
  CHECK(process.wait().code == 128 + SIGKILL);
  CHECK_FALSE(std::filesystem::exists(directory.path / "killed/summary.json"));
  // What a write that was cut short may leave at the end of a file is dropped.
  std::ofstream(directory / "killed/metrics.jsonl", std::ios::app) << "{\"step\": 99";
  std::ofstream(directory / "killed/eval.jsonl", std::ios::app) << "{\"step";
  std::ofstream(directory.path / "killed" / kEventsFile, std::ios::app) << "\x1a";
  // As do files that were never renamed; others are none of ours.
  const Args left = {"checkpoints/step-0000000600.safetensors.tmp.123.0",
                     "summary.json.tmp.123.17"};
  for (const std::string& name : left) std::ofstream(directory.path / "killed" / name) << "half";
  std::ofstream(directory / "killed/notes.tmp.txt") << "mine";
  const Outcome resumed = mixflow::mixflow(longer("killed") + Args{"--resume"}, directory.path);
  CHECK_MESSAGE(resumed.code == 0, resumed.err);
  check_same_run(uninterrupted(), directory.path / "killed", kLongSteps);
  for (const std::string& name : left)
    CHECK_FALSE(std::filesystem::exists(directory.path / "killed" / name));
  CHECK(read_text(directory / "killed/notes.tmp.txt") == "mine");
  CHECK(read_text(directory / "killed/log.txt").find("info: resumed after meta-step ") !=
        std::string::npos);
}

TEST_CASE(
    "an interrupted run finishes its meta-step, saves, exits 130 and resumes with the same bits") {
  const TemporaryDirectory directory;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const std::string name = "run" + std::to_string(signal);
    const auto run = directory.path / name;
    Process process(longer(name) + Args{"--json"}, directory.path);
    wait_for_file(run / checkpoint_name(200));
    process.signal(signal);
    const Outcome outcome = process.wait();
    CHECK(outcome.code == 130);
    const auto summary = json_of(outcome);
    CHECK(summary.at("interrupted") == true);
    const int steps = summary.at("steps");
    CHECK(steps < kLongSteps);
    REQUIRE(std::filesystem::exists(run / checkpoint_name(steps)));
    // What another signal could lose comes first.
    CHECK(std::filesystem::last_write_time(run / checkpoint_name(steps)) <=
          std::filesystem::last_write_time(run / "summary.json"));
    CHECK(read_text(run / "log.txt").find("info: interrupted after meta-step ") !=
          std::string::npos);
    CHECK(mixflow::mixflow(longer(name) + Args{"--resume"}, directory.path).code == 0);
    check_same_run(uninterrupted(), run, kLongSteps);
  }
}

TEST_CASE("a signal during the first evaluation stops the run before its first meta-step") {
  const TemporaryDirectory directory;
  const Args train = longer("run") + set({"meta.eval.tasks=20000"}) + Args{"--json"};
  Process process(train, directory.path);
  wait_for_file(directory / "run/eval.jsonl");
  process.signal(SIGINT);
  const Outcome outcome = process.wait();
  CHECK(outcome.code == 130);
  const auto summary = json_of(outcome);
  CHECK(summary.at("interrupted") == true);
  CHECK(summary.at("steps") == 0);
  CHECK(summary.at("eval_after").is_null());  // none was made of what training left
  CHECK(json_lines(directory / "run/eval.jsonl").size() == 2);
}

TEST_CASE("the best state by validation loss is kept, and a resumed run has the same") {
  const TemporaryDirectory directory;
  const auto train = [&](const std::string& out) {
    return Args{"train", "--quiet", "--out", out} +
           tiny(set({"meta.steps=200", "meta.eval.every=10", "meta.checkpoint_every=7",
                     "meta.optimizer.lr=0.3"})) +
           Args{"--json"};
  };
  const auto summary = json_of(mixflow::mixflow(train("run"), directory.path));
  const int best = summary.at("best").at("step").get<int>();
  const auto run = directory.path / "run";
  const auto evals = json_lines(run / "eval.jsonl");
  double lowest = HUGE_VAL;
  int at = -1;
  for (const nlohmann::json& eval : evals) {
    if (eval.at("split") != "validation") continue;
    const double loss = eval.at("points")[1].at("loss").get<double>();  // after inner.steps
    if (loss < lowest) at = eval.at("step").get<int>();
    lowest = std::min(lowest, loss);
  }
  CHECK(at == best);
  REQUIRE(best > 0);
  const std::string file = std::filesystem::path(checkpoint_name(best)).filename().string();
  CHECK(listing(run / "checkpoints/best") == std::vector<std::string>{file});
  const auto tensors = read_safetensors(run / "checkpoints/best" / file).tensors;
  CHECK(tensors.size() > 3);
  // Without its last checkpoint the run goes on from the one before, to the same end.
  std::filesystem::remove(run / checkpoint_name(200));
  std::filesystem::remove_all(run / "checkpoints/best");
  const auto again = json_of(mixflow::mixflow(train("run") + Args{"--resume"}, directory.path));
  CHECK(again.at("best") == summary.at("best"));
  CHECK(json_lines(run / "eval.jsonl") == evals);
  // And so does one that is made anew.
  json_of(mixflow::mixflow(train("other"), directory.path));
  CHECK(read_safetensors(directory.path / "other/checkpoints/best" / file).tensors == tensors);
}

TEST_CASE("a training that ended worse than it began says so, in the log and the summary") {
  const TemporaryDirectory directory;
  write_classes(directory.path);
  const Args train = Args{"train", "c.yaml", "--out", "run", "--quiet"} +
                     set({"meta.steps=20", "meta.optimizer={kind: sgd, lr: 100}", "threads=1"});
  const Outcome outcome = mixflow::mixflow(train, directory.path);
  CHECK_MESSAGE(outcome.code == 0, outcome.err);
  const auto warnings =
      nlohmann::json::parse(read_text(directory.path / "run/summary.json")).at("warnings");
  REQUIRE(warnings.size() >= 1);
  const std::string last = warnings.back().get<std::string>();
  CHECK(last.starts_with("training ended worse than it began: test loss after 2 inner steps "));
  CHECK(outcome.out.find("Warning: " + last) != std::string::npos);
  CHECK(read_text(directory.path / "run/log.txt").find("warning: " + last) != std::string::npos);
}

TEST_CASE("one process at a time trains in a directory, and its end frees it however it comes") {
  const TemporaryDirectory directory;
  Process process(longer("run"), directory.path);
  wait_for_file(directory.path / "run" / checkpoint_name(200));
  const Outcome second = mixflow::mixflow(longer("run") + Args{"--resume"}, directory.path);
  CHECK(second.code == 2);
  CHECK_MESSAGE(
      second.err.ends_with("mixflow: run: is in use by process " + std::to_string(process.pid()) +
                           "; wait for it or choose another --out\n"),
      second.err);
  process.signal(SIGKILL);
  CHECK(process.wait().code == 128 + SIGKILL);
  const Outcome resumed = mixflow::mixflow(longer("run") + Args{"--resume"}, directory.path);
  CHECK_MESSAGE(resumed.code == 0, resumed.err);
  check_same_run(uninterrupted(), directory.path / "run", kLongSteps);
}

TEST_CASE("a file that outgrows the size limit ends the run with a message") {
  const TemporaryDirectory directory;
  const Outcome outcome = Process::shell(
                              "ulimit -f 1; exec \"$0\" train --quiet --out run "
                              "--outcome outcome.json " +
                                  shipped("quickstart.yaml"),
                              directory.path)
                              .wait();
  CHECK(outcome.code == 1);
  CHECK(nlohmann::json::parse(read_text(directory.path / "outcome.json")).at("code") == "io");
  CHECK(outcome.err ==
        "mixflow: run failed: run/config.yaml: cannot be written: the file would exceed the size "
        "limit (`ulimit -f`, or the file system's)\n");
}

TEST_CASE("sizes beyond any memory are refused before they take any") {
  const TemporaryDirectory directory;
  for (const char* size :
       {"data.shots=2147483647", "data.queries=2147483647", "model.hidden=[2147483647]",
        "meta.batch=2147483647", "inner.steps=100000000"}) {
    CAPTURE(size);
    const Outcome outcome = mixflow::mixflow({"train", shipped("quickstart.yaml"), "--out", "run",
                                              "--outcome", "outcome.json", "-s", size},
                                             directory.path);
    CHECK(outcome.code == 2);
    CHECK(outcome.err.find("of memory that this process may use; lower meta.batch, or ") !=
          std::string::npos);
    const auto json = nlohmann::json::parse(read_text(directory.path / "outcome.json"));
    CHECK(json.at("peak_rss_bytes").get<std::int64_t>() < (std::int64_t{1} << 30));
    CHECK_FALSE(std::filesystem::exists(directory.path / "run"));
  }
}

TEST_CASE("a run resumes only with its number of threads") {
  const TemporaryDirectory directory;
  const Args train = Args{"train", "--out", "run"} + tiny();
  CHECK(mixflow::mixflow(train, directory.path).code == 0);
  const Outcome other =
      mixflow::mixflow(train + Args{"--resume", "--threads", "1"}, directory.path);
  CHECK(other.code == 2);
  CHECK_MESSAGE(other.err.ends_with("mixflow: run: the run used 2 threads, this process 1; sums "
                                    "would differ in their last bits: pass --threads 2\n"),
                other.err);
}

TEST_CASE("a damaged, cut or foreign checkpoint is refused with the way out") {
  const TemporaryDirectory directory;
  const Args train = Args{"train", "--out", "run"} + tiny();
  CHECK(mixflow::mixflow(train, directory.path).code == 0);
  const auto path = directory.path / "run" / checkpoint_name(12);
  const std::string name = "run/" + checkpoint_name(12);
  const std::string whole = read_text(path);
  const TensorFile file = read_safetensors(path);
  const auto refused = [&](const std::string& content) {
    write_atomically(path, content);
    const Outcome outcome = mixflow::mixflow(train + Args{"--resume"}, directory.path);
    CHECK(outcome.code == 2);
    CHECK(outcome.err.starts_with("mixflow: " + name + ": "));
    CHECK(std::ranges::count(outcome.err, '\n') == 1);
    return outcome.err;
  };
  const auto changed = [&](auto change) {
    TensorFile copy = file;
    change(copy);
    std::vector<TensorView> views;
    for (const NamedTensor& t : copy.tensors) views.push_back({t.name, t.type, t.shape, t.data});
    write_sealed_safetensors(path, views, copy.metadata);
    return refused(read_text(path));
  };
  const auto has = [](const std::string& text, const std::string& part) {
    CHECK_MESSAGE(text.find(part) != std::string::npos, text << " lacks " << part);
  };
  const std::string way_out = "; delete it to resume from the one before, of meta-step 8\n";
  has(refused(""), way_out);
  has(refused("not tensors"), way_out);
  has(refused(whole.substr(0, whole.size() / 2)), way_out);
  has(refused(whole + "more"), way_out);
  std::string flipped = whole;
  flipped[whole.size() - 5] = static_cast<char>(flipped[whole.size() - 5] ^ 4);
  has(refused(flipped), "its checksum does not fit its content" + way_out);
  has(changed([](TensorFile& f) { f.metadata.clear(); }), "expected a checkpoint");
  has(changed([](TensorFile& f) { f.metadata["format"] = "other-1"; }),
      "found the format \"other-1\"");
  has(changed([](TensorFile& f) { f.metadata["step"] = "11"; }), "it holds meta-step 11");
  has(changed([](TensorFile& f) { f.metadata["metrics_bytes"] = "-1"; }),
      "\"metrics_bytes\" is \"-1\"");
  has(changed([](TensorFile& f) { f.metadata.erase("wall_s"); }), "it has no \"wall_s\"");
  has(changed([](TensorFile& f) { f.metadata["format"] = "mixflow-checkpoint-1"; }),
      "expected a checkpoint of the format mixflow-checkpoint-3, found the format "
      "\"mixflow-checkpoint-1\": another version of mixflow began this run: continue it with that "
      "one, or start anew with another --out\n");
  has(changed([](TensorFile& f) { f.metadata.erase("events_bytes"); }),
      "it has no \"events_bytes\"");
  has(changed([](TensorFile& f) {
        std::erase_if(f.tensors,
                      [](const NamedTensor& t) { return t.name == "eta.init.layers.0.bias"; });
      }),
      "eta.init.layers.0.bias f32[8], which is missing: the checkpoint belongs to another "
      "experiment");
  has(changed([](TensorFile& f) {
        std::erase_if(f.tensors, [](const NamedTensor& t) { return t.name == "recent_losses"; });
      }),
      "it has no valid \"recent_losses\"");
  // The way out works.
  std::filesystem::remove(path);
  CHECK(mixflow::mixflow(train + Args{"--resume"}, directory.path).code == 0);
  CHECK(read_safetensors(path).tensors == file.tensors);
}

TEST_CASE(
    "a loss that is not finite ends the run with the meta-step, and the directory stays whole") {
  const TemporaryDirectory directory;
  const Args train =
      Args{"train", "--out", "run"} + tiny(set({"meta.optimizer.kind=sgd", "meta.optimizer.lr=1e4",
                                                "meta.checkpoint_every=1", "meta.steps=100"}));
  const Outcome outcome = mixflow::mixflow(train, directory.path);
  CHECK(outcome.code == 1);
  CHECK(outcome.out == "");
  const std::string lead = "mixflow: run failed: meta-step ";
  const std::size_t found = outcome.err.find(lead);
  REQUIRE_MESSAGE(found != std::string::npos, outcome.err);
  const std::string told = outcome.err.substr(found + lead.size());
  std::size_t digits = 0;
  const int step = std::stoi(told, &digits);
  const std::string reason = told.substr(digits);
  CHECK_MESSAGE((reason.starts_with(": the outer loss is not finite") ||
                 reason.starts_with(": the meta-gradient is not finite")),
                outcome.err);
  REQUIRE(step > 1);
  const auto run = directory.path / "run";
  CHECK(json_lines(run / "metrics.jsonl").size() == static_cast<std::size_t>(step - 1));
  CHECK_NOTHROW(read_safetensors(run / checkpoint_name(step - 1)));
  CHECK(read_text(run / "log.txt").find("error: meta-step " + std::to_string(step)) !=
        std::string::npos);
  // The same again from the last checkpoint.
  const Outcome resumed = mixflow::mixflow(train + Args{"--resume"}, directory.path);
  CHECK(resumed.code == 1);
  const auto last_line = [](const std::string& text) {
    return text.substr(text.rfind('\n', text.size() - 2) + 1);
  };
  CHECK(last_line(resumed.err) == last_line(outcome.err));
}

TEST_CASE("held-out losses that are not finite end the run before they are written") {
  const TemporaryDirectory directory;
  const Outcome outcome =
      mixflow::mixflow(Args{"train", "--quiet", "--out", "run"} +
                           tiny(set({"inner.optimizer.lr=3", "meta.eval.steps=[0, 1, 200]"})),
                       directory.path);
  CHECK(outcome.code == 1);
  CHECK(
      outcome.err.starts_with("mixflow: run failed: meta-step 0: the held-out loss (test, after "
                              "200 inner steps) is not finite. After 1 it is "));
  CHECK_MESSAGE(outcome.err.ends_with(
                    ": the inner steps diverge. Lower inner.optimizer.lr, or take 200 out of "
                    "meta.eval.steps: training takes 1. No checkpoint was written before\n"),
                outcome.err);
  CHECK(read_text(directory / "run/eval.jsonl").empty());
}
