// The matmul peak of this machine, the denominator of MFU and of predicted times. It is measured
// once and kept in the user's cache directory, $XDG_CACHE_HOME/mixflow or ~/.cache/mixflow, by CPU,
// instruction set, libraries, number of threads and type of the operands.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace mixflow {

struct MatmulPeak {
  double gflops = 0;
  // Its two best measurements differ by less than 3 %. Where they never did, the machine was busy:
  // such a figure is measured anew after ten minutes, and the larger one stays.
  bool agreed = false;
  std::int64_t measured_at = 0;  // Unix time in s
  std::string not_kept;          // why the cache could not be written; empty: it was
};

// What is kept, or else measured now: at least three times 0.2 s, at most a dozen times. Where it
// cannot be kept, once. Measuring starts that many threads. The same figure in the whole process.
MatmulPeak matmul_peak_of(int threads, bool bf16);
inline double matmul_peak(int threads, bool bf16) { return matmul_peak_of(threads, bf16).gflops; }

// Measures it now, whatever is kept, and keeps it.
MatmulPeak renew_matmul_peak(int threads, bool bf16);

// Where peaks are kept; nothing where the environment names no directory.
std::optional<std::filesystem::path> matmul_peak_file();

// Model FLOPs per second over the peak. Nothing above 1: then the peak was measured on a busy
// machine, and is no peak.
std::optional<double> mfu_of(double gflops, double peak_gflops);
inline constexpr const char* kPeakUnderLoad =
    "peak measured under load; run mixflow info --measure";

}  // namespace mixflow
