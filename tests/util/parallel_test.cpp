#include "util/parallel.h"

#include <doctest/doctest.h>

#include <atomic>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

using namespace mixflow;

TEST_CASE("every index is worked on once, by any number of threads") {
  for (const int threads : {0, 1, 2, 7}) {
    CAPTURE(threads);
    std::vector<std::atomic<int>> calls(100);
    parallel_for(calls.size(), threads, [&](std::size_t i) { ++calls[i]; });
    for (const std::atomic<int>& count : calls) CHECK(count == 1);
  }
  parallel_for(0, 2, [](std::size_t) { FAIL("there is nothing to do"); });
}

TEST_CASE("the exception of the lowest index that threw is rethrown, after all threads ended") {
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    std::atomic<int> running{0};
    std::string message;
    try {
      parallel_for(50, threads, [&](std::size_t i) {
        ++running;
        if (i % 10 == 5) {
          --running;
          throw std::runtime_error(std::to_string(i));
        }
        --running;
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    CHECK(message == "5");
    CHECK(running == 0);
  }
}
