#include "train/signals.h"

#include <doctest/doctest.h>

#include <csignal>

using namespace mixflow;

TEST_CASE("SIGINT asks for a stop on a stack of its own; the guard's end restores what was") {
  stack_t before{}, during{}, after{};
  struct sigaction action_before {
  }, action_after{};
  sigaltstack(nullptr, &before);
  sigaction(SIGINT, nullptr, &action_before);
  {
    const SignalGuard guard;
    sigaltstack(nullptr, &during);
    CHECK_FALSE(SignalGuard::stop_requested());
    std::raise(SIGINT);
    CHECK(SignalGuard::stop_requested());
  }
  sigaltstack(nullptr, &after);
  sigaction(SIGINT, nullptr, &action_after);
  CHECK((during.ss_flags & SS_DISABLE) == 0);
  CHECK(during.ss_sp != before.ss_sp);
  CHECK(during.ss_size >= 65536);
  CHECK(after.ss_flags == before.ss_flags);
  CHECK(after.ss_sp == before.ss_sp);
  CHECK((action_after.sa_handler == action_before.sa_handler));
}
