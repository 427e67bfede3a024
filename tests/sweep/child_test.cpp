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
    return failure_of(exit, printed, 0).kind;
  };
  CHECK(kind(code(1), "mixflow: run failed: out of memory; `mixflow plan` ..\n") == "memory");
  CHECK(kind(code(1), "mixflow: run failed: cannot reserve 5 bytes of memory: ..\n") == "memory");
  CHECK(kind({.status = SIGKILL}, "") == "memory");
  CHECK(kind(code(1), "mixflow: run failed: meta-step 3: the outer loss is not finite (..)\n") ==
        "non_finite");
  CHECK(kind(code(2), "mixflow: c.yaml:1:2: unknown key\n") == "config");
  CHECK(
      kind(code(2), "mixflow: p: is in use by process 7; wait for it or choose another --out\n") ==
      "in_use");
  CHECK(kind(code(70), "mixflow: this is a bug\n") == "crash");
  CHECK(kind({.status = SIGSEGV}, "") == "crash");
  CHECK(kind(code(130), "") == "interrupted");
  CHECK(kind(code(1), "mixflow: run failed: the disk is full\n") == "error");

  CHECK(failure_of(code(1), "warning: x\nmixflow: run failed: the disk is full\n\n", 0).reason ==
        "the disk is full");
  CHECK(failure_of(code(1), "", 0).reason == "exit code 1");
  CHECK(failure_of({.status = SIGSEGV}, "last words\n", 0).reason ==
        "killed by signal 11 (Segmentation fault); it said: last words");
  CHECK(failure_of({.status = SIGKILL, .peak_rss_bytes = 1 << 20}, "", 2 << 20).reason ==
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

TEST_CASE("the line of progress counts, and tells the time left and the best point") {
  SweepCounts counts{.points = 9, .done = 3, .failed = 1, .running = 2, .work_left = 50};
  CHECK(progress_text(counts, 0) == "3/9 done, 2 running, 1 failed, ETA ?");
  counts.skipped = 1;
  counts.elsewhere = 4;
  counts.best_loss = 0.25;
  counts.best = "lr=1";
  CHECK(progress_text(counts, 5) ==
        "3/9 done, 2 running, 4 elsewhere, 1 failed, 1 skipped, ETA 10.0 s, best 0.25 (lr=1)");
}
