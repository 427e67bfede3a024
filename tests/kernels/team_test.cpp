#include "kernels/team.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "kernels/denormals.h"
#include "kernels/float_mode.h"

namespace mixflow {
namespace {

using std::chrono::milliseconds;

constexpr int kThreads = 4;

// So many threads, whatever the number of cores, until the end of a test.
struct Helpers {
  explicit Helpers(int threads) { start_helpers_anyway(threads); }
  ~Helpers() { start_helpers_anyway(1); }
};

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

void work_for(milliseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Whether, before long, a helper takes one of two parts; it does `in_part` then.
template <class InPart>
bool helper_takes_part(const InPart& in_part) {
  const std::thread::id caller = std::this_thread::get_id();
  std::atomic<bool> helped = false;
  for (int job = 0; job < 5000 && !helped; ++job) {
    run_parts(2, [&](int) {
      if (std::this_thread::get_id() == caller) {
        work_for(milliseconds(helped ? 0 : 1));
        return;
      }
      helped = true;
      in_part();
    });
  }
  return helped;
}

TEST_CASE(
    "What an item throws reaches the caller, the lowest one first, on any number of threads") {
  const Helpers helpers(kThreads);
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

TEST_CASE("What a part throws reaches the caller, and the other parts are done") {
  for (const int threads : {1, kThreads}) {
    const Helpers helpers(threads);
    std::vector<int> done(kThreads);
    CHECK(error_of([&] {
            run_parts(kThreads, [&](int part) {
              if (part % 2 == 1) fail(part);
              done[static_cast<std::size_t>(part)] = 1;
            });
          }) == "1");
    CHECK(done == std::vector{1, 0, 1, 0});
  }
}

TEST_CASE("Each part and each item is done once, by no two threads of one number at a time") {
  const Helpers helpers(kThreads);
  bool once = true;
  std::atomic<bool> apart = true;
  for (int job = 0; job < 3000; ++job) {
    const int parts = 2 + job % 13, threads = 1 + job % 5;
    std::vector<int> done(static_cast<std::size_t>(parts));
    run_parts(parts, [&](int part) { ++done[static_cast<std::size_t>(part)]; });
    std::vector<int> items(static_cast<std::size_t>(job % 50));
    std::vector<std::atomic<int>> inside(static_cast<std::size_t>(threads));
    share_items(threads, static_cast<std::int64_t>(items.size()), [&](std::int64_t i, int thread) {
      std::atomic<int>& mine = inside.at(static_cast<std::size_t>(thread));
      if (++mine > 1) apart = false;
      ++items[static_cast<std::size_t>(i)];
      --mine;
    });
    for (const int times : done) once = once && times == 1;
    for (const int times : items) once = once && times == 1;
  }
  CHECK(once);
  CHECK(apart);
}

TEST_CASE("The calling thread sees what parts wrote, and parts what it wrote before") {
  const Helpers helpers(kThreads);
  std::vector<std::int64_t> values(kThreads, 0);
  std::int64_t sum = 0;
  bool right = true;
  for (std::int64_t round = 1; round <= 3000; ++round) {
    run_parts(kThreads, [&](int part) { values[static_cast<std::size_t>(part)] = sum + part; });
    for (int part = 0; part < kThreads; ++part)
      right = right && values[static_cast<std::size_t>(part)] == sum + part;
    sum += round;
  }
  CHECK(right);
}

TEST_CASE("Parts inside parts, and several callers at a time, do without helpers") {
  const Helpers helpers(kThreads);
  std::atomic<int> done = 0;
  run_parts(3, [&](int) {
    const std::thread::id thread = std::this_thread::get_id();
    run_parts(5, [&](int) { done += std::this_thread::get_id() == thread ? 1 : 0; });
  });
  CHECK(done == 15);
  const auto call = [&] {
    for (int job = 0; job < 1000; ++job) run_parts(3, [&](int) { ++done; });
  };
  std::thread other(call);
  call();
  other.join();
  CHECK(done == 15 + 2 * 3000);
}

TEST_CASE("Helpers compute in the calling thread's floating-point mode") {
  const Helpers helpers(2);
  std::thread([] {
    for (const bool flush : {false, true}) {
      if (flush) flush_denormals();
      CHECK(flushes_denormals() == flush);
      bool flushes = !flush;
      CHECK(helper_takes_part([&] { flushes = flushes_denormals(); }));
      CHECK(flushes == flush);
    }
  }).join();
}

TEST_CASE("Helpers without work sleep") {
  const Helpers helpers(kThreads);
  run_parts(kThreads, [](int) { work_for(milliseconds(2)); });
  std::this_thread::sleep_for(milliseconds(20));
  const double before = cpu_seconds();
  std::this_thread::sleep_for(milliseconds(200));
  CHECK(cpu_seconds() - before < 0.02);
}

TEST_CASE("After waiting long for a helper the calling thread works alone, and not for ever") {
  const Helpers helpers(2);
  const std::thread::id caller = std::this_thread::get_id();
  bool alone = false;
  // Where much else runs, the calling thread may itself be off its core while the helper sleeps.
  for (int attempt = 0; attempt < 10 && !alone; ++attempt) {
    REQUIRE(helper_takes_part([] { std::this_thread::sleep_for(milliseconds(30)); }));
    std::atomic<int> helped = 0;
    for (int job = 0; job < 20; ++job) {
      run_parts(2, [&](int) {
        work_for(milliseconds(1));
        if (std::this_thread::get_id() != caller) ++helped;
      });
    }
    alone = helped == 0;
  }
  CHECK(alone);
  std::this_thread::sleep_for(milliseconds(500));
  CHECK(helper_takes_part([] {}));
}

TEST_CASE("A process that was forked does all parts itself, and can have helpers of its own") {
  const Helpers helpers(kThreads);
  run_parts(kThreads, [](int) {});
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int> done = 0;
    run_parts(kThreads, [&](int) { ++done; });
    bool right = done == kThreads && team_size() == 1;
    start_helpers_anyway(2);
    right = right && team_size() == 2 && helper_takes_part([] {});
    _exit(right ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("No more helpers are started than can run at a time") {
  start_helpers(1000);
  CHECK(team_size() >= 1);
  CHECK(team_size() <= static_cast<int>(std::thread::hardware_concurrency()));
  start_helpers_anyway(1);
  CHECK(team_size() == 1);
}

TEST_CASE("No file opens a parallel region of OpenMP: an exception in one ends the process") {
  std::vector<std::string> found;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(MIXFLOW_SOURCE_DIR "/src")) {
    if (!entry.is_regular_file()) continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    if (text.str().find("#pragma omp") != std::string::npos)
      found.push_back(entry.path().filename());
  }
  CHECK(found.empty());
}

}  // namespace
}  // namespace mixflow
