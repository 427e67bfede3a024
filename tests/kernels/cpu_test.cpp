#include "kernels/cpu.h"

#include <doctest/doctest.h>
#include <sched.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

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
  CHECK(usable_cores() <= usable_threads());
  CHECK(usable_threads() <= static_cast<int>(cpus.size()));
}

TEST_CASE("A list of CPUs is read as the kernel writes it") {
  CHECK(parse_cpu_list("0-3,8,10-11\n") == std::vector{0, 1, 2, 3, 8, 10, 11});
  CHECK(parse_cpu_list("5") == std::vector{5});
  CHECK(parse_cpu_list("").empty());
}

TEST_CASE("A thread that stays on a node may run on each of its usable CPUs") {
  std::thread([] {
    stay_on_node_of(usable_cpus()[0]);
    cpu_set_t mask;
    CPU_ZERO(&mask);
    REQUIRE(sched_getaffinity(0, sizeof(mask), &mask) == 0);
    CHECK(CPU_ISSET(static_cast<std::size_t>(usable_cpus()[0]), &mask));
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &mask))
        CHECK(std::ranges::count(usable_cpus(), static_cast<int>(cpu)) == 1);
    }
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
