// `mixflow train --trace`.
#include <fstream>
#include <set>

#include "process.h"

using namespace mixflow;

TEST_CASE("train --trace writes the second meta-step's kernels by thread, and the memory alive") {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path / "trace.json";
  const Args args = Args{"train", "--quiet", "--json", "--out", "run", "--trace", file.string()} +
                    tiny({"-s", "threads=2"});
  const auto run = json_of(mixflow::mixflow(args, directory.path));
  const auto trace = nlohmann::json::parse(read_text(file));
  double most = 0;
  std::set<int> threads;
  for (const nlohmann::json& event : trace.at("traceEvents")) {
    if (event.at("ph") == "C") most = std::max(most, event.at("args").at("bytes").get<double>());
    if (event.at("ph") != "X") continue;
    threads.insert(event.at("tid").get<int>());
    CHECK(event.at("ts").get<double>() >= 0);
    CHECK(event.at("dur").get<double>() >= 0);
    CHECK_FALSE(event.at("args").at("node").get<std::string>().empty());
  }
  CHECK(threads == std::set<int>{0, 1});
  CHECK(most > 0);
  CHECK(most <= run.at("dynamic_bytes").get<double>());
  CHECK(directory.entries() == 2);  // the run and the trace, nothing temporary
  // A run that is traced ends like any other.
  const auto plain = json_of(mixflow::mixflow(
      Args{"train", "--quiet", "--json", "--out", "plain"} + tiny({"-s", "threads=2"}),
      directory.path));
  CHECK(plain.at("meta_loss_last") == run.at("meta_loss_last"));
}

TEST_CASE("a trace that is not written to its end leaves the older file as it was") {
  const TemporaryDirectory directory;
  const std::filesystem::path file = directory.path / "trace.json";
  std::ofstream(file) << "older";
  // The first meta-step is the last: its loss is not finite.
  const Outcome outcome =
      mixflow::mixflow(Args{"train", "--quiet", "--out", "run", "--trace", file.string()} +
                           tiny({"-s", "inner.optimizer.lr=1e30", "-s", "model.activation=relu"}),
                       directory.path);
  CHECK_MESSAGE(outcome.code == 1, outcome.err);
  CHECK(read_text(file) == "older");
}

TEST_CASE("a trace that cannot be written is an error before anything runs") {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory.path / "folder");
  for (const std::string place : {"none/trace.json", "folder"}) {
    CAPTURE(place);
    const Outcome outcome = mixflow::mixflow(
        Args{"train", "--quiet", "--out", "run", "--trace", place} + tiny(), directory.path);
    CHECK(outcome.code == 2);
    CHECK_MESSAGE(outcome.err.find(place + ": cannot be written") != std::string::npos,
                  outcome.err);
    CHECK_FALSE(std::filesystem::exists(directory.path / "run"));
  }
  CHECK(directory.entries() == 1);
}
