// The machine that mixflow runs on, and the settings of its threads. Linux.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mixflow {

// The CPUs that this process may run on, one thread of every physical core first, then their
// siblings. From the affinity mask at the first call in the process (stay_on_node_of narrows the
// masks of threads, not this list).
const std::vector<int>& usable_cpus();

// Physical cores among usable_cpus(), the first so many of which are on different ones.
int physical_cores();

// How many threads are worth starting: physical cores among usable_cpus(), no more than the
// container's CPU quota.
int usable_cores();

// How many threads can run at a time: usable_cpus(), no more than the container's CPU quota.
int usable_threads();

// "0-3,8" is 0, 1, 2, 3, 8.
std::vector<int> parse_cpu_list(const std::string& text);

// Keeps the calling thread near the memory of a CPU, on all usable CPUs that share it. One CPU
// alone would be worse: threads could not make way for other processes. Processes that the thread
// starts afterwards inherit it.
void stay_on_node_of(int cpu);

// Whether this process would make machine code, and the system refuses the memory for it
// (code_memory.h).
bool machine_code_is_refused();

// What results depend on in their last bits, beside the number of threads: Highway's name of the
// instruction set that our kernels use, and whether code was made of them ("AVX3_SPR", "AVX3_SPR
// without machine code").
std::string kernels_name();

struct CpuInfo {
  std::string name;
  std::string features;       // the instruction sets that matter for kernels, space-separated
  std::int64_t l1_bytes = 0;  // data, per core; 0: unknown
  std::int64_t l2_bytes = 0;
  std::int64_t l3_bytes = 0;
  std::string kernels;       // kernels_name()
  std::string bf16_kernels;  // amx_bf16, avx512_bf16 or rounded_f32
  std::string onednn;        // its version
};
CpuInfo cpu_info();

// Best speed of a product of 512×512 matrices on `threads` threads, in GFLOP/s. f32: the better of
// oneDNN's and our own kernels; bf16: of operands that are packed already. Takes about 0.2 s. For
// `info` and as the denominator of MFU.
double measure_matmul_gflops(int threads, bool bf16 = false);

}  // namespace mixflow
