#include "train/threads.h"

#include <doctest/doctest.h>
#include <omp.h>

#include <atomic>
#include <vector>

#include "kernels/cpu.h"
#include "kernels/denormals.h"

using namespace mixflow;

TEST_CASE("every OpenMP thread flushes denormals once threads are started") {
  for (const int threads : {1, 2, 3}) {
    CAPTURE(threads);
    CHECK(start_threads(threads) == threads);
    CHECK(omp_get_max_threads() == threads);
    std::vector<int> flushes(static_cast<std::size_t>(threads), -1);
    volatile float tiny = 1e-39f;
    std::atomic<int> products{0};
#pragma omp parallel num_threads(threads)
    {
      flushes[static_cast<std::size_t>(omp_get_thread_num())] = flushes_denormals();
      // In and out: a denormal read is zero.
      if (tiny * 1e10f != 0.0f) ++products;
    }
    for (const int flush : flushes) CHECK(flush == 1);
    CHECK(products == 0);
  }
  CHECK(start_threads(0) == usable_cores());
}
