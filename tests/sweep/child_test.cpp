#include "sweep/child.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "../util/testing.h"
#include "sweep/view.h"
#include "train/signals.h"

using namespace mixflow;

namespace {

// What waitpid tells of an exit code.
ChildExit code(int value) { return {.status = value << 8}; }

}  // namespace

TEST_CASE("failures have a kind and the last words of the process") {
  const auto kind = [](const ChildExit& exit, const std::string& printed) {
    return failure_of(exit, {}, printed, 0).kind;
  };
  // What the process said of itself, by code; its words do not matter.
  for (const char* own : {"in_use", "config", "non_finite", "io", "error", "bug"}) {
    const TrainOutcome outcome{.code = own, .message = "out of memory, is not finite"};
    const Failure failure = failure_of(code(1), outcome, "other words\n", 0);
    CHECK(failure.kind == own);
    CHECK(failure.reason == outcome.message);
  }
  CHECK(failure_of(code(1), TrainOutcome{.code = "memory", .message = "cannot reserve 5 bytes"}, "",
                   2 << 20)
            .reason == "cannot reserve 5 bytes (it used 0 B, its limit is 2.0 MiB)");
  CHECK(failure_of(code(130), TrainOutcome{.code = "interrupted"}, "", 0).kind == "interrupted");
  // It may be killed after it said that it was done.
  CHECK(failure_of({.status = SIGSEGV}, TrainOutcome{.code = "done"}, "", 0).kind == "crash");
  CHECK(kind(code(1), "libgomp: Thread creation failed: Resource temporarily unavailable\n") ==
        "memory");
  CHECK(kind({.status = SIGKILL}, "") == "memory");
  CHECK(kind(code(2), "mixflow: c.yaml:1:2: unknown key\n") == "config");
  CHECK(kind(code(70), "mixflow: this is a bug\n") == "bug");
  CHECK(kind({.status = SIGSEGV}, "") == "crash");
  CHECK(kind(code(1), "mixflow: run failed: the disk is full\n") == "error");

  CHECK(
      failure_of(code(1), {}, "warning: x\nmixflow: run failed: the disk is full\n\n", 0).reason ==
      "the disk is full");
  CHECK(failure_of(code(1), {}, "", 0).reason == "exit code 1");
  CHECK(failure_of({.status = SIGSEGV}, {}, "last words\n", 0).reason ==
        "killed by signal 11 (Segmentation fault); it said: last words");
  CHECK(failure_of({.status = SIGKILL, .peak_rss_bytes = 1 << 20}, {}, "", 2 << 20).reason ==
        "killed by signal 9 (Killed), as the system does when memory runs out (it used 1.0 MiB, "
        "its limit is 2.0 MiB)");
}

TEST_CASE("waits for a signal" * doctest::skip()) { pause(); }  // for the test below

TEST_CASE("SIGTERM ends a child, however young") {
  const TemporaryDirectory directory;
  const SignalGuard signals;
  for (int i = 0; i < 20; ++i) {
    Child child({.args = {"--no-skip", "--test-case=waits for a signal"},
                 .error_file = directory / "stderr.txt"});
    child.signal(SIGTERM);
    std::optional<ChildExit> exit;
    for (int wait = 0; wait < 500 && !(exit = child.poll()); ++wait) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    REQUIRE(exit);
    CHECK(WIFSIGNALED(exit->status));
    CHECK(WTERMSIG(exit->status) == SIGTERM);
  }
}

TEST_CASE("the line of progress counts, and tells the time left") {
  SweepCounts counts{.points = 9, .done = 3, .failed = 1, .running = 2, .work_left = 50};
  CHECK(progress_text(counts, 0) == "3/9 done, 2 running, 1 failed, ETA ?");
  counts.skipped = 1;
  counts.elsewhere = 4;
  CHECK(progress_text(counts, 5) ==
        "3/9 done, 2 running, 4 elsewhere, 1 failed, 1 skipped, ETA 10.0 s");
}
