#include "sweep/claim.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <vector>

#include "../util/testing.h"

using namespace mixflow;
using Life = ClaimState::Life;

TEST_CASE("an attempt is claimed once; it ends with its owner and stays claimed") {
  const TemporaryDirectory directory;
  CHECK(inspect_claim(directory.path, "p", 1).life == Life::none);
  {
    const auto claim = Claim::take(directory.path, "p", 1);
    REQUIRE(claim);
    CHECK(claim->attempt() == 1);
    CHECK(inspect_claim(directory.path, "p", 1).life == Life::held);
    CHECK(inspect_claim(directory.path, "p", 1).owner == this_process());
    CHECK_FALSE(Claim::take(directory.path, "p", 1));
    CHECK(Claim::take(directory.path, "p", 2));
    CHECK(Claim::take(directory.path, "q", 1));
  }
  CHECK(inspect_claim(directory.path, "p", 1).life == Life::ended);
  CHECK_FALSE(Claim::take(directory.path, "p", 1));
  CHECK(directory.entries() == 3);  // no temporary files
}

TEST_CASE("a claim is held as long as a child that has inherited it lives") {
  const TemporaryDirectory directory;
  pid_t child = -1;
  {
    const auto claim = Claim::take(directory.path, "p", 1);
    child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      pause();
      _exit(0);
    }
  }
  CHECK(inspect_claim(directory.path, "p", 1).life == Life::held);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  CHECK(inspect_claim(directory.path, "p", 1).life == Life::ended);
}

TEST_CASE("of processes that claim at once, one wins") {
  const TemporaryDirectory directory;
  constexpr int kAttempts = 20;
  std::vector<pid_t> children;
  for (int process = 0; process < 4; ++process) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      int won = 0;
      for (int attempt = 1; attempt <= kAttempts; ++attempt) {
        won += Claim::take(directory.path, "p", attempt).has_value();
      }
      _exit(won);
    }
    children.push_back(child);
  }
  int won = 0;
  for (const pid_t child : children) {
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    won += WEXITSTATUS(status);
  }
  CHECK(won == kAttempts);
}

TEST_CASE("of a claim on another machine nothing is known but its owner") {
  const TemporaryDirectory directory;
  std::ofstream(directory / "p.1") << R"({"host": "far", "boot": "other", "pid": 7})";
  const ClaimState state = inspect_claim(directory.path, "p", 1);
  CHECK(state.life == Life::unknown);
  CHECK(state.owner == Owner{"far", "other", 7});
  std::ofstream(directory / "p.2") << "{";
  CHECK(inspect_claim(directory.path, "p", 2).life == Life::unknown);
}

TEST_CASE("a claim of any content is somebody's whom nothing is known of") {
  const TemporaryDirectory directory;
  for (const char* text : {R"({"host": 1, "boot": ["x"], "pid": "7"})", R"({"pid": 1e300})", "[[[[",
                           "", "7", R"({"host": {"boot": 1}})"}) {
    std::ofstream(directory / "p.1") << text;
    CHECK(inspect_claim(directory.path, "p", 1).life == Life::unknown);
    CHECK(inspect_claim(directory.path, "p", 1).owner == Owner{});
  }
  std::filesystem::create_directory(directory / "p.2");
  CHECK(inspect_claim(directory.path, "p", 2).life == Life::unknown);
  REQUIRE(mkfifo((directory / "p.3").c_str(), 0600) == 0);
  CHECK(inspect_claim(directory.path, "p", 3).life == Life::unknown);
}
