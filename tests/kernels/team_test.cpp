#include "kernels/team.h"

#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace mixflow {
namespace {

constexpr int kThreads = 4;

// What is thrown on any thread, as text.
template <class Region>
std::string error_of(const Region& region) {
  try {
    region();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "nothing";
}

[[noreturn]] void fail(std::int64_t where) { throw std::runtime_error(std::to_string(where)); }

TEST_CASE(
    "What an item throws reaches the caller, the lowest one first, on any number of threads") {
  for (int threads = 1; threads <= kThreads; ++threads) {
    for (const std::int64_t bad : {0, 3, 9}) {
      CHECK(error_of([&] {
              share_items(threads, 10, [&](std::int64_t item, int) {
                if (item >= bad) fail(item);
              });
            }) == std::to_string(bad));
    }
  }
}

TEST_CASE("What a part throws reaches the caller, and the parts of other threads are done") {
  std::vector<int> done(kThreads);
  CHECK(error_of([&] {
          run_parts(kThreads, [&](int part) {
            if (part % 2 == 1) fail(part);
            done[static_cast<std::size_t>(part)] = 1;
          });
        }) == "1");
  CHECK(done[0] == 1);
  CHECK(done[2] == 1);
}

TEST_CASE("A thread that throws between waits holds up nobody, whichever and whenever it is") {
  constexpr int kWaits = 3;
  for (int bad = 0; bad < kThreads; ++bad) {
    for (int when = 0; when <= kWaits; ++when) {
      std::vector<int> waits(kThreads);
      CHECK(error_of([&] {
              as_team(kThreads, [&](Team team) {
                for (int w = 0; w < kWaits; ++w) {
                  if (team.thread == bad && w == when) fail(bad);
                  team.wait();
                  ++waits[static_cast<std::size_t>(team.thread)];
                }
                if (team.thread == bad && when == kWaits) fail(bad);
              });
            }) == std::to_string(bad));
      for (int thread = 0; thread < kThreads; ++thread)
        CHECK(waits[static_cast<std::size_t>(thread)] == (thread == bad ? when : kWaits));
    }
  }
}

TEST_CASE("Where all threads throw, at different waits, the caller gets the lowest one's") {
  CHECK(error_of([&] {
          as_team(kThreads, [&](Team team) {
            for (int w = 0; w < kThreads - team.thread; ++w) team.wait();
            fail(team.thread);
          });
        }) == "0");
}

TEST_CASE("After a wait each thread sees what the others wrote before it") {
  constexpr int kRounds = 2000;
  std::vector<int> wrote(kThreads);
  std::atomic<bool> right = true;
  as_team(kThreads, [&](Team team) {
    for (int round = 1; round <= kRounds; ++round) {
      wrote[static_cast<std::size_t>(team.thread)] = round;
      team.wait();
      const int sum = std::accumulate(wrote.begin(), wrote.end(), 0);
      if (sum != round * team.threads) right = false;
      team.wait();
    }
  });
  CHECK(right);
}

TEST_CASE("team.h alone opens parallel regions, so that no exception can leave one elsewhere") {
  std::vector<std::string> found;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(MIXFLOW_SOURCE_DIR "/src")) {
    if (!entry.is_regular_file()) continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    if (text.str().find("#pragma omp") != std::string::npos)
      found.push_back(entry.path().filename());
  }
  CHECK(found == std::vector<std::string>{"team.h"});
}

}  // namespace
}  // namespace mixflow
