// The machine that mixflow runs on, and the settings of its threads. Linux.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mixflow {

// The CPUs that this process may run on, one thread of every physical core first, then their
// siblings. From the affinity mask at the first call in the process (bind_threads narrows the masks
// of threads, not this list).
const std::vector<int>& usable_cpus();

// Physical cores among usable_cpus(), the first so many of which are on different ones.
int physical_cores();

// How many threads are worth starting: physical cores among usable_cpus(), no more than the
// container's CPU quota.
int usable_cores();

// Binds OpenMP thread i of a team of `threads` to usable_cpus()[i], in turn if there are more
// threads than CPUs. Unbound threads that wait by spinning end up on one core and stall each other.
// A team that leaves cores to others is not bound: several such processes would share the first.
// Processes started afterwards by a bound thread inherit its one CPU.
void bind_threads(int threads);

// Makes the calling thread and OpenMP's threads treat denormal numbers as zero, in and out:
// products of denormals are 200 times slower. The setting belongs to each thread, so main alone
// does not reach the others.
void set_flush_denormals(int threads);

struct CpuInfo {
  std::string name;
  std::string features;       // the instruction sets that matter for kernels, space-separated
  std::int64_t l1_bytes = 0;  // data, per core; 0: unknown
  std::int64_t l2_bytes = 0;
  std::int64_t l3_bytes = 0;
  std::string kernels;       // Highway's name of the instruction set that our kernels use
  std::string bf16_kernels;  // amx_bf16, avx512_bf16 or rounded_f32
  std::string onednn;        // its version
};
CpuInfo cpu_info();

// Best speed of a product of 512×512 matrices on `threads` threads, in GFLOP/s. f32: the better of
// oneDNN's and our own kernels; bf16: of operands that are packed already. Takes about 0.2 s. For
// `info` and as the denominator of MFU.
double measure_matmul_gflops(int threads, bool bf16 = false);

}  // namespace mixflow
