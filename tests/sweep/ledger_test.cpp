#include "sweep/ledger.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "../util/testing.h"
#include "util/file.h"
#include "util/text.h"

using namespace mixflow;

namespace {

// A ledger of the given text.
struct Written : TemporaryDirectory {
  explicit Written(const std::string& text = "") { std::ofstream(*this / "l") << text; }
  std::string file() const { return *this / "l"; }
};

nlohmann::ordered_json record(const std::string& point, const std::string& state, int attempt = 0) {
  nlohmann::ordered_json json = {{"point", point}, {"state", state}};
  if (attempt > 0) json["attempt"] = attempt;
  return json;
}

}  // namespace

TEST_CASE("the last word about a point counts, and done is final") {
  const Written written;
  Ledger ledger(written.file());
  const Ledger::Lock lock(ledger);
  CHECK(ledger.status("a").state == PointState::queued);
  CHECK(ledger.status("a").attempt == 0);
  ledger.append(record("a", "running", 1));
  CHECK(ledger.status("a").state == PointState::running);
  ledger.append(record("a", "failed", 1));
  ledger.append(record("a", "running", 2));
  ledger.append(record("a", "failed", 1));  // of a process that was taken for dead
  CHECK(ledger.status("a").state == PointState::running);
  CHECK(ledger.status("a").attempt == 2);
  ledger.append(record("a", "done", 2));
  ledger.append(record("a", "failed", 3));
  CHECK(ledger.status("a").state == PointState::done);
  CHECK(ledger.damaged() == 0);
}

TEST_CASE("a line that a crash has cut short is skipped, and the next one is whole") {
  const std::string whole = ledger_line(record("a", "running", 1));
  for (std::size_t cut = 1; cut < whole.size(); ++cut) {
    const Written written(ledger_line(record("b", "done", 1)) + whole.substr(0, cut));
    Ledger ledger(written.file());
    CHECK(ledger.status("a").attempt == 0);  // it may still be being written
    {
      const Ledger::Lock lock(ledger);
      ledger.append(record("c", "done", 1));
    }
    CHECK(ledger.status("b").state == PointState::done);
    CHECK(ledger.status("c").state == PointState::done);
    // Without its newline a line may be whole all the same.
    CHECK(ledger.status("a").attempt == (cut + 1 == whole.size() ? 1 : 0));
    CHECK(Ledger(written.file()).status("c").state == PointState::done);
  }
}

TEST_CASE("lines that are no records are skipped and counted") {
  const Written written(
      "\n[1]\n{\"point\": 3, \"state\": \"done\"}\n{\"point\": \"a\", \"state\": \"odd\"}\n" +
      std::string("\0\0\0\n", 4) + ledger_line(record("a", "done", 1)));
  const Ledger ledger(written.file());
  CHECK(ledger.damaged() == 4);
  CHECK(ledger.status("a").state == PointState::done);
}

TEST_CASE("processes append at once without mixing lines, and read each other") {
  const Written written;
  constexpr int kProcesses = 4, kRecords = 50;
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      Ledger ledger(written.file());
      for (int i = 0; i < kRecords; ++i) {
        const Ledger::Lock lock(ledger);
        ledger.append(record(std::to_string(process) + "." + std::to_string(i), "done", 1));
      }
      _exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
  }
  const Ledger ledger(written.file());
  CHECK(ledger.damaged() == 0);
  for (int process = 0; process < kProcesses; ++process) {
    for (int i = 0; i < kRecords; ++i) {
      CHECK(ledger.status(std::to_string(process) + "." + std::to_string(i)).state ==
            PointState::done);
    }
  }
}

TEST_CASE("lines whose values have other types than a record's count as damaged") {
  const std::vector<std::string> bad = {
      R"({"point": "a", "state": "running", "attempt": 2147483647})",
      R"({"point": "a", "state": "running", "attempt": 99999999999999999999})",
      R"({"point": "a", "state": "running", "attempt": -1})",
      R"({"point": "a", "state": "running", "attempt": "1"})",
      R"({"point": "a", "state": "running", "boot": 7})",
      R"({"point": "a", "state": "running", "pid": "x"})",
      R"({"point": "a", "state": "running", "cpus": {"0": 1}})",
      R"({"point": "a", "state": "running", "cpus": [0, "1"]})",
      R"({"point": "a", "state": "running", "threads": [1]})",
      R"({"point": "a", "state": "running", "process_bytes": 1e300})",
      R"({"point": "a", "state": "failed", "reason": {"a": 1}})",
      R"({"point": "a", "state": "failed", "kind": null})",
      R"({"point": "a", "state": "done", "split": []})",
      R"({"point": "a", "state": "done", "loss": "0.1"})",
      R"({"point": ["a"], "state": "done"})",
      R"(["point", "a", "state", "done"])",
      std::string(100'000, '['),
      "\"",
  };
  std::string text = ledger_line(record("a", "running", 3));
  for (const std::string& line : bad) text += line + "\n";
  const Written written(text);
  const PointStates points = read_ledger(written.file());
  CHECK(points.damaged() == bad.size());
  CHECK(points.status("a").state == PointState::running);
  CHECK(points.status("a").attempt == 3);
}
