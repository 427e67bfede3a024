#include "kernels/cpu.h"

#include <doctest/doctest.h>
#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include "kernels/denormals.h"
#include "kernels/small_gemm.h"

namespace mixflow {
namespace {

int cpus_of_this_thread() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  sched_getaffinity(0, sizeof(mask), &mask);
  return CPU_COUNT(&mask);
}

TEST_CASE("Usable CPUs are those of the affinity mask, each once, and hold the usable cores") {
  const std::vector<int>& cpus = usable_cpus();
  CHECK(static_cast<int>(cpus.size()) == cpus_of_this_thread());
  CHECK(std::set<int>(cpus.begin(), cpus.end()).size() == cpus.size());
  CHECK(usable_cores() >= 1);
  CHECK(usable_cores() <= static_cast<int>(cpus.size()));
}

TEST_CASE("A team with a thread for every core is bound, one CPU each, and a smaller one is not") {
  // In a thread of its own, whose OpenMP team is its own too: the other tests keep their CPUs.
  std::thread([] {
    const std::vector<int>& cpus = usable_cpus();
    if (usable_cores() > 1) {
      bind_threads(1);
      CHECK(cpus_of_this_thread() == static_cast<int>(cpus.size()));
    }
    const int threads = static_cast<int>(cpus.size());
    bind_threads(threads);
    std::vector<int> counts(static_cast<std::size_t>(threads));
    std::vector<int> where(static_cast<std::size_t>(threads));
#pragma omp parallel num_threads(threads)
    {
      const auto thread = static_cast<std::size_t>(omp_get_thread_num());
      counts[thread] = cpus_of_this_thread();
      where[thread] = sched_getcpu();
    }
    for (std::size_t thread = 0; thread < counts.size(); ++thread) {
      CHECK(counts[thread] == 1);
      CHECK(where[thread] == cpus[thread]);
    }
  }).join();
}

TEST_CASE("Denormals are flushed on every thread of the team, and only once asked for") {
  std::thread([] {
    CHECK_FALSE(flushes_denormals());
    constexpr int kThreads = 3;
    set_flush_denormals(kThreads);
    bool flushed[kThreads] = {};
#pragma omp parallel num_threads(kThreads)
    flushed[omp_get_thread_num()] = flushes_denormals();
    CHECK(flushes_denormals());
    for (const bool thread : flushed) CHECK(thread);
  }).join();
}

TEST_CASE("The CPU has a name, a first-level cache and kernels, and multiplies") {
  const CpuInfo info = cpu_info();
  CHECK_FALSE(info.name.empty());
  CHECK(info.l1_bytes >= 0);
  CHECK(info.l2_bytes >= info.l1_bytes);
  CHECK(info.kernels == gemm_kernels().target);
  CHECK(std::count(info.onednn.begin(), info.onednn.end(), '.') == 2);
  CHECK(measure_matmul_gflops(1) > 0.01);
}

}  // namespace
}  // namespace mixflow
