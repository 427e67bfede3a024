#include "kernels/cpu.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <new>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernels/bf16_kernels.h"
#include "kernels/code_memory.h"
#include "kernels/onednn.h"
#include "kernels/small_gemm.h"
#include "kernels/team.h"
#include "kernels/tile_ops.h"

namespace mixflow {
namespace {

// No object here has a destructor that runs: helpers may read it while the process ends.
constexpr const char* kSys = "/sys/devices/system/cpu/cpu";

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Value of the first "key : value" line of /proc/cpuinfo.
std::string cpuinfo_value(std::string_view key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (line.starts_with(key) && colon != std::string::npos) {
      return line.substr(std::min(colon + 2, line.size()));
    }
  }
  return {};
}

cpu_set_t mask_of(const std::vector<int>& cpus) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (const int cpu : cpus) CPU_SET(static_cast<std::size_t>(cpu), &mask);
  return mask;
}

struct Cpus {
  std::vector<int> list;
  int cores = 0;  // the first so many are on different physical cores
};

Cpus read_cpus() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof(mask), &mask) != 0) CPU_SET(0, &mask);
  Cpus cpus;
  std::vector<int> siblings;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<std::size_t>(cpu), &mask)) continue;
    const std::string topology = kSys + std::to_string(cpu) + "/topology/";
    std::string core =
        first_line(topology + "physical_package_id") + ":" + first_line(topology + "core_id");
    if (core == ":") core += std::to_string(cpu);
    (cores.insert(core).second ? cpus.list : siblings).push_back(cpu);
  }
  cpus.cores = static_cast<int>(cpus.list.size());
  cpus.list.insert(cpus.list.end(), siblings.begin(), siblings.end());
  return cpus;
}

const Cpus& cpus() {
  static const Cpus& kCpus = *new Cpus(read_cpus());
  return kCpus;
}

// CPUs' worth of time that the container may use, or 0 for no limit ("max 100000" or "150000
// 100000").
int cgroup_quota() {
  std::string group = first_line("/proc/self/cgroup");
  group = group.starts_with("0::") ? group.substr(3) : "";
  for (const std::string& path :
       {"/sys/fs/cgroup" + group + "/cpu.max", std::string("/sys/fs/cgroup/cpu.max")}) {
    std::istringstream line(first_line(path));
    double quota = 0;
    double period = 0;
    if (line >> quota >> period && period > 0)
      return std::max(1, static_cast<int>(std::ceil(quota / period)));
  }
  return 0;
}

// "48K", "2M"
std::int64_t parse_size(const std::string& text) {
  char* end = nullptr;
  const std::int64_t number = std::strtoll(text.c_str(), &end, 10);
  if (*end == 'K') return number << 10;
  if (*end == 'M') return number << 20;
  return number;
}

std::int64_t cache_bytes(const std::string& level) {
  for (int i = 0; i < 8; ++i) {
    const std::string cache =
        kSys + std::to_string(cpus().list[0]) + "/cache/index" + std::to_string(i) + "/";
    if (first_line(cache + "level") == level && first_line(cache + "type") != "Instruction") {
      return parse_size(first_line(cache + "size"));
    }
  }
  return 0;
}

std::string features() {
  constexpr std::array<std::string_view, 18> kTold = {
      "sse4_2",      "avx2",        "fma",         "avx_vnni", "avx512f",  "avx512bw",
      "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8", "asimd",
      "asimddp",     "bf16",        "i8mm",        "sve",      "sve2",     "sme"};
  std::string flags = cpuinfo_value("flags");
  if (flags.empty()) flags = cpuinfo_value("Features");  // Arm
  std::istringstream words(flags);
  std::string told;
  for (std::string word; words >> word;) {
    if (std::ranges::find(kTold, word) == kTold.end()) continue;
    told += (told.empty() ? "" : " ") + word;
  }
  return told;
}

// Seconds of the fastest of the runs that fit into `seconds`.
template <class Run>
double fastest(double seconds, const Run& run) {
  using Clock = std::chrono::steady_clock;
  const auto elapsed = [](Clock::time_point from) {
    return std::chrono::duration<double>(Clock::now() - from).count();
  };
  run();
  double best = 1e9;
  for (const auto start = Clock::now(); elapsed(start) < seconds;) {
    const auto begin = Clock::now();
    run();
    best = std::min(best, elapsed(begin));
  }
  return best;
}

// Blocks of a result on every thread, of packed operands of 512 KiB each.
double measure_bf16_gflops(int threads) {
  constexpr std::int64_t kSize = 512;
  constexpr std::int64_t kTiles = kSize / kBf16Terms;
  constexpr std::int64_t kPanel = kTiles * kBf16TileWords;
  constexpr std::int64_t kWords = kSize * kSize / 2;
  constexpr std::int64_t kStride = kSize + 16;
  constexpr std::int64_t kAlign = 16;  // words
  const Bf16Kernels& kernels = bf16_kernels();
  std::vector<std::uint32_t> store(static_cast<std::size_t>(2 * kWords * threads + kAlign),
                                   0x3F803F80);  // ones
  void* aligned = store.data();
  std::size_t room = store.size() * sizeof(std::uint32_t);
  const auto* operands = static_cast<std::uint32_t*>(
      std::align(kAlign * 4, (store.size() - kAlign) * 4, aligned, room));
  std::vector<float> results(static_cast<std::size_t>(kSize * kStride * threads));
  const double seconds = fastest(0.1, [&] {
    run_parts(threads, [&](int part) {
      const std::uint32_t* a = operands + 2 * kWords * part;
      const std::uint32_t* b = a + kWords;
      float* c = results.data() + kSize * kStride * part;
      kernels.begin();
      for (std::int64_t j = 0; j < kSize; j += kBf16Block) {
        for (std::int64_t i = 0; i < kSize; i += kBf16Block) {
          kernels.block(a + i / kBf16Vectors * kPanel, kPanel, b + j / kBf16Vectors * kPanel,
                        kPanel, kTiles, kBf16Block, kBf16Block, c + i * kStride + j, kStride,
                        false);
        }
      }
      kernels.end();
    });
  });
  return 2.0 * kSize * kSize * kSize * threads / seconds * 1e-9;
}

}  // namespace

std::vector<int> parse_cpu_list(const std::string& text) {
  std::vector<int> list;
  std::istringstream ranges(text);
  for (std::string range; std::getline(ranges, range, ',');) {
    std::istringstream ends(range);
    int first = 0, last = 0;
    char dash = 0;
    if (!(ends >> first)) continue;
    if (!(ends >> dash >> last)) last = first;
    for (int cpu = first; cpu <= last; ++cpu) list.push_back(cpu);
  }
  return list;
}

const std::vector<int>& usable_cpus() { return cpus().list; }

int physical_cores() { return cpus().cores; }

int usable_cores() {
  const int quota = cgroup_quota();
  return quota > 0 ? std::min(quota, cpus().cores) : cpus().cores;
}

int usable_threads() {
  const int quota = cgroup_quota();
  const int cpus = static_cast<int>(usable_cpus().size());
  return quota > 0 ? std::min(quota, cpus) : cpus;
}

void stay_on_node_of(int cpu) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(kSys + std::to_string(cpu), error)) {
    const std::string node = entry.path().filename();
    if (!node.starts_with("node")) continue;
    std::vector<int> near;
    for (const int other : parse_cpu_list(first_line(entry.path() / "cpulist"))) {
      if (std::ranges::find(usable_cpus(), other) != usable_cpus().end()) near.push_back(other);
    }
    if (near.empty() || near.size() == usable_cpus().size()) return;
    const cpu_set_t mask = mask_of(near);
    sched_setaffinity(0, sizeof(mask), &mask);  // where it is forbidden, threads stay as they are
    return;
  }
}

bool machine_code_is_refused() { return tile_fns_use_avx512() && !code_memory_is_given(); }

std::string kernels_name() {
  return std::string(gemm_kernels().target) +
         (machine_code_is_refused() ? " without machine code" : "");
}

CpuInfo cpu_info() {
  CpuInfo info;
  info.name = cpuinfo_value("model name");
  if (info.name.empty()) info.name = "unknown CPU";
  info.features = features();
  info.l1_bytes = cache_bytes("1");
  info.l2_bytes = cache_bytes("2");
  info.l3_bytes = cache_bytes("3");
  info.kernels = kernels_name();
  info.bf16_kernels = bf16_kernels().name;
  info.onednn = onednn_version();
  return info;
}

double measure_matmul_gflops(int threads, bool bf16) {
  if (bf16 && bf16_kernels().block != nullptr) return measure_bf16_gflops(threads);
  constexpr std::int64_t kSize = 512;
  constexpr double kFlop = 2.0 * kSize * kSize * kSize;
  // Rows a little longer than 512: a stride of 2 KiB would measure cache conflicts.
  constexpr std::int64_t kStride = kSize + 16;
  const std::vector<float> a(kSize * kStride, 1.0F);
  const std::vector<float> b(kSize * kStride, 0.5F);
  std::vector<float> c(kSize * kStride);
  std::atomic<bool> failed = false;
  const auto by_rows = [&](const auto& multiply) {
    run_parts(threads, [&](int part) {
      const auto [first, last] = share_of(kSize, part, threads);
      if (last > first)
        multiply(a.data() + first * kStride, last - first, c.data() + first * kStride);
    });
  };
  double library = std::numeric_limits<double>::infinity();
  if (code_memory_is_given()) {
    library = fastest(0.1, [&] {
      by_rows([&](const float* from, std::int64_t rows, float* to) {
        if (!sgemm(false, false, rows, kSize, kSize, from, kStride, b.data(), kStride, 0.0F, to,
                   kStride))
          failed = true;
      });
    });
  }
  const GemmKernels& own = gemm_kernels();
  const double ours = fastest(0.1, [&] {
    by_rows([&](const float* from, std::int64_t rows, float* to) {
      const GemmSlice slice{from, b.data(), kStride, 1, kStride, own.panel_columns(kSize), kSize};
      own.multiply(&slice, 1, rows, kSize, nullptr, 0, to, kStride);
    });
  });
  if (failed) throw std::bad_alloc();
  return kFlop / std::min(library, ours) * 1e-9;
}

}  // namespace mixflow
