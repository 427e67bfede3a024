// `mixflow train --resume`: what a run may go on with, and what is in a run directory's way.
#include <sys/stat.h>

#include <fstream>

#include "data/safetensors.h"
#include "process.h"

using namespace mixflow;

namespace {

namespace fs = std::filesystem;

constexpr const char* kMiddle = "checkpoints/step-0000000004.safetensors";
constexpr const char* kLast = "checkpoints/step-0000000005.safetensors";

// c.yaml over points.csv: a run of five meta-steps, of which the first four are kept on request, as
// if it had been killed.
struct Run : TemporaryDirectory {
  explicit Run(bool ended = true) {
    write_points(0);
    std::ofstream(path / "c.yaml")
        << "data: {kind: tabular, x: points.csv, target_column: target}\n"
           "model: {kind: mlp, hidden: [4]}\n"
           "threads: 1\n"
           "inner: {loss: cross_entropy, steps: 2}\n"
           "meta: {parameters: [{kind: lr}], steps: 5, checkpoint_every: 4}\n";
    CHECK(train({"c.yaml", "--out", "run"}).code == 0);
    if (ended) return;
    fs::remove(path / "run" / kLast);
    fs::remove(path / "run/summary.json");
  }

  void write_points(int first) const {
    std::ofstream csv(path / "points.csv");
    csv << "u,v,target\n" << first << ",1,0\n";
    for (int row = 1; row < 40; ++row) csv << row % 7 << "," << row % 5 << "," << row % 2 << "\n";
  }
  Outcome train(const Args& args) const {
    return mixflow::mixflow(Args{"train", "--quiet"} + args, path);
  }
  Outcome resume(const Args& more = {}) const {
    return train(Args{"c.yaml", "--out", "run", "--resume"} + more);
  }
};

void check_refused(const Outcome& outcome, const std::string& message) {
  CHECK(outcome.code == 2);
  CHECK_MESSAGE(outcome.err.starts_with("mixflow: " + message), outcome.err);
  CHECK(std::ranges::count(outcome.err, '\n') == 1);
}

}  // namespace

TEST_CASE("a run whose data have changed is not resumed, wherever the data lie") {
  const Run run(false);
  run.write_points(3);
  check_refused(run.resume(), "points.csv: has changed since the run began (its content)");
  std::ofstream(run.path / "points.csv", std::ios::app) << "1,1,1\n";
  check_refused(run.resume(), "points.csv: has changed since the run began (it had ");
  // The same bytes elsewhere are the same data.
  run.write_points(0);
  fs::create_directory(run.path / "moved");
  fs::rename(run.path / "points.csv", run.path / "moved/points.csv");
  fs::rename(run.path / "c.yaml", run.path / "moved/c.yaml");
  const Outcome outcome = run.train({"moved/c.yaml", "--out", "run", "--resume"});
  CHECK_MESSAGE(outcome.code == 0, outcome.err);
}

TEST_CASE("a moved run directory resumes without a config, by either way to name it") {
  for (const Args& how : {Args{"--out", "elsewhere/b", "--resume"}, Args{"elsewhere/b", "--resume"},
                          Args{"--resume", "elsewhere/b/"}}) {
    const Run run(false);
    fs::create_directory(run.path / "elsewhere");
    fs::rename(run.path / "run", run.path / "elsewhere/b");
    const Outcome outcome = run.train(how);
    CHECK_MESSAGE(outcome.code == 0, outcome.err);
    CHECK(fs::exists(run.path / "elsewhere/b" / kLast));
    CHECK_FALSE(fs::exists(run.path / "run"));
  }
}

TEST_CASE("--resume where no run is begins none") {
  const Run run;
  check_refused(run.train({"c.yaml", "--out", "none", "--resume"}),
                "--resume: none: no such directory; without --resume a new run begins there");
  fs::create_directory(run.path / "empty");
  check_refused(run.train({"--out", "empty", "--resume"}),
                "--resume: empty: holds no run; without --resume a new run begins there");
  check_refused(run.train({"--resume"}), "train --resume: expected the run directory: ");
  check_refused(run.train({"run", "--out", "empty", "--resume"}),
                "train --resume: run and --out empty are two directories; give one");
  CHECK_FALSE(fs::exists(run.path / "none"));
  CHECK(fs::is_empty(run.path / "empty"));
}

TEST_CASE("checkpoints without config.yaml are neither resumed nor written over by chance") {
  const Run run(false);
  fs::rename(run.path / "run/config.yaml", run.path / "kept.yaml");
  const std::string message =
      "run/config.yaml: is missing, although run/checkpoints holds checkpoints: put it back, ";
  check_refused(run.resume(), message);
  check_refused(run.train({"--out", "run", "--resume"}), message);
  check_refused(run.train({"c.yaml", "--out", "run"}), message);
  fs::rename(run.path / "kept.yaml", run.path / "run/config.yaml");
  CHECK(run.resume().code == 0);
}

TEST_CASE("another run's checkpoint is refused, with other settings and with the same") {
  const Run run(false), same(false);
  CHECK(run.train({"c.yaml", "--out", "other", "-s", "seed=2"}).code == 0);
  fs::rename(run.path / "run" / kMiddle, run.path / "own");
  fs::copy_file(run.path / "other" / kMiddle, run.path / "run" / kMiddle);
  check_refused(run.resume(), std::string("run/") + kMiddle +
                                  ": belongs to a run with other settings than "
                                  "config.yaml's");
  fs::remove(run.path / "run" / kMiddle);
  // Equal settings and data, but what was measured differs.
  fs::copy_file(same.path / "run" / kMiddle, run.path / "run" / kMiddle);
  check_refused(run.resume(), "run/metrics.jsonl: ");
  fs::remove(run.path / "run" / kMiddle);
  fs::rename(run.path / "own", run.path / "run" / kMiddle);
  CHECK(run.resume().code == 0);
}

TEST_CASE("a run goes on with other kernels or versions, and says so") {
  const Run run(false);
  const auto path = run.path / "run" / kMiddle;
  TensorFile file = read_safetensors(path);
  file.metadata["kernels"] = "OTHER";
  file.metadata["mixflow"] = "0.0.9";
  std::vector<TensorView> views;
  for (const NamedTensor& t : file.tensors) views.push_back({t.name, t.type, t.shape, t.data});
  write_sealed_safetensors(path, views, file.metadata);
  const Outcome outcome = run.resume();
  CHECK(outcome.code == 0);
  const std::string told = "its last bits may differ from those of a run without a break";
  CHECK(outcome.err.find("instead of 0.0.9, kernels for ") != std::string::npos);
  CHECK(outcome.err.find(told) != std::string::npos);
  CHECK(read_text(run / "run/log.txt").find(told) != std::string::npos);
}

TEST_CASE("a deleted checkpoint leads to the one before, or to the beginning, with the same end") {
  const Run run;
  const TensorFile whole = read_safetensors(run.path / "run" / kLast);
  fs::remove(run.path / "run" / kLast);
  CHECK(run.resume().code == 0);
  CHECK(read_safetensors(run.path / "run" / kLast).tensors == whole.tensors);
  fs::remove_all(run.path / "run/checkpoints");
  CHECK(run.resume().code == 0);
  CHECK(read_safetensors(run.path / "run" / kLast).tensors == whole.tensors);
}

TEST_CASE("--overwrite replaces a run's files and nothing else") {
  const Run run;
  std::ofstream(run.path / "run/notes.txt") << "mine";
  const Outcome outcome =
      run.train({"c.yaml", "--out", "run", "--overwrite", "-s", "meta.steps=3"});
  CHECK_MESSAGE(outcome.code == 0, outcome.err);
  CHECK(read_text(run / "run/notes.txt") == "mine");
  CHECK(json_lines(run / "run/metrics.jsonl").size() == 3);
  CHECK_FALSE(fs::exists(run.path / "run" / kLast));
  CHECK(fs::exists(run.path / "run/checkpoints/step-0000000003.safetensors"));
  CHECK(run.train({"c.yaml", "--out", "new", "--overwrite"}).code == 0);  // nothing there
  CHECK(run.train({"c.yaml", "--out", "run", "--overwrite", "--resume"}).code == 2);
}

TEST_CASE("symbolic links in a run directory are not written through") {
  const Run run(false);
  std::ofstream(run.path / "target") << "mine";
  fs::create_directory(run.path / "folder");
  for (const std::string name :
       {"metrics.jsonl", "eval.jsonl", "log.txt", "summary.json", "lock", "checkpoints"}) {
    CAPTURE(name);
    const fs::path file = run.path / "run" / name;
    if (fs::exists(file)) fs::rename(file, run.path / "kept");
    fs::create_symlink(name == "checkpoints" ? "../folder" : "../target", file);
    const Outcome outcome = run.resume();
    CHECK(outcome.code == 2);
    CHECK_MESSAGE(outcome.err.find("run/" + name + ": is a symbolic link") != std::string::npos,
                  outcome.err);
    fs::remove(file);
    if (fs::exists(run.path / "kept")) fs::rename(run.path / "kept", file);
    CHECK(read_text(run / "target") == "mine");
    CHECK(fs::is_empty(run.path / "folder"));
  }
  CHECK(run.resume().code == 0);
}

TEST_CASE("a run whose directory disappears ends with the reason") {
  const Run run;
  Process process(Args{"train", "--quiet", "c.yaml", "--out", "gone"} +
                      set({"meta.steps=2000000", "meta.checkpoint_every=1000"}),
                  run.path);
  const fs::path gone = run.path / "gone";
  while (!fs::exists(gone / "checkpoints/step-0000001000.safetensors") && !process.has_ended())
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  fs::rename(gone, run.path / "taken");
  const Outcome outcome = process.wait();
  CHECK(outcome.code == 1);
  CHECK_MESSAGE(outcome.err.starts_with("mixflow: run failed: gone: the run directory, or its "
                                        "checkpoints, were removed while the run went on"),
                outcome.err);
}

TEST_CASE(
    "metrics and evaluations are in their files soon after the meta-step, without a checkpoint") {
  const Run run;
  Process process(
      Args{"train", "--quiet", "c.yaml", "--out", "live"} +
          set({"meta.steps=2000000", "meta.checkpoint_every=2000000", "meta.eval.every=1000000"}),
      run.path);
  const fs::path live = run.path / "live";
  const auto has_lines = [&] {
    return fs::exists(live / "metrics.jsonl") && fs::file_size(live / "metrics.jsonl") > 0 &&
           fs::file_size(live / "eval.jsonl") > 0 &&
           fs::file_size(live / "events.out.tfevents.mixflow") > 100;
  };
  for (int i = 0; i < 6000 && !has_lines(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(has_lines());
  process.signal(SIGKILL);
  process.wait();
  CHECK(fs::is_empty(live / "checkpoints"));
}

TEST_CASE("evaluations are told as they come, in lines that fit a terminal") {
  const Run run;
  const Outcome outcome = mixflow::mixflow(
      Args{"train", "c.yaml", "--out", "told", "-s", "meta.eval.every=2"}, run.path);
  CHECK(outcome.code == 0);
  for (const std::string start : {"step 0  test: loss ", "step 2  test: loss ", "step 5  test: "})
    CHECK_MESSAGE(outcome.err.find(start) != std::string::npos, outcome.err);
  std::istringstream lines(outcome.err);
  for (std::string line; std::getline(lines, line);) CHECK(line.size() <= 81);
}
