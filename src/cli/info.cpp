#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "kernels/cpu.h"
#include "train/progress.h"
#include "train/threads.h"

namespace mixflow {

int run(const InfoCommand& o) {
  const int threads = start_threads(o.threads);
  const CpuInfo cpu = cpu_info();
  const double one = measure_matmul_gflops(1),
               all = threads > 1 ? measure_matmul_gflops(threads) : one;
  const double bf16_one = measure_matmul_gflops(1, true),
               bf16_all = threads > 1 ? measure_matmul_gflops(threads, true) : bf16_one;
  if (o.json) {
    const nlohmann::ordered_json json = {
        {"version", MIXFLOW_VERSION},
        {"build", MIXFLOW_BUILD_TYPE},
        {"compiler", __VERSION__},
        {"cpu", cpu.name},
        {"features", cpu.features},
        {"l1_bytes", cpu.l1_bytes},
        {"l2_bytes", cpu.l2_bytes},
        {"l3_bytes", cpu.l3_bytes},
        {"threads", threads},
        {"kernels", cpu.kernels},
        {"onednn", cpu.onednn},
        {"bf16_kernels", cpu.bf16_kernels},
        {"matmul_gflops",
         {{"f32", {{"one_thread", one}, {"all_threads", all}}},
          {"bf16", {{"one_thread", bf16_one}, {"all_threads", bf16_all}}}}},
    };
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    std::printf("mixflow %s, %s build, compiler %s\n", MIXFLOW_VERSION, MIXFLOW_BUILD_TYPE,
                __VERSION__);
    std::printf("CPU: %s\n  %s\n  caches: L1 %s, L2 %s per core, L3 %s; threads: %d\n",
                cpu.name.c_str(), cpu.features.c_str(), format_bytes(cpu.l1_bytes).c_str(),
                format_bytes(cpu.l2_bytes).c_str(), format_bytes(cpu.l3_bytes).c_str(), threads);
    std::printf("Kernels: %s; oneDNN %s\n", cpu.kernels.c_str(), cpu.onednn.c_str());
    std::printf("Matmul peak, f32: %.0f GFLOP/s on one thread, %.0f on %d\n", one, all, threads);
    std::printf("Matmul peak, bf16 (%s): %.0f GFLOP/s on one thread, %.0f on %d\n",
                cpu.bf16_kernels.c_str(), bf16_one, bf16_all, threads);
  }
  return 0;
}

}  // namespace mixflow
