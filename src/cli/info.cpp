#include <algorithm>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "kernels/cpu.h"
#include "train/matmul_peak.h"
#include "train/progress.h"
#include "train/threads.h"
#include "util/text.h"

namespace mixflow {
namespace {

struct Peaks {
  MatmulPeak one, all;
};

Peaks peaks_of(int threads, bool bf16, bool renew) {
  const auto peak = [&](int count) {
    return renew ? renew_matmul_peak(count, bf16) : matmul_peak_of(count, bf16);
  };
  const MatmulPeak one = peak(1);
  return {one, threads > 1 ? peak(threads) : one};
}

std::int64_t age_s(const MatmulPeak& peak) {
  // A clock may have been set back since.
  return std::max<std::int64_t>(std::time(nullptr) - peak.measured_at, 0);
}

std::string age_text(const MatmulPeak& peak) {
  const std::int64_t days = age_s(peak) / 86400;
  const std::string age =
      days > 1 ? std::to_string(days) + " days" : format_seconds(static_cast<double>(age_s(peak)));
  return "measured " + age + " ago" +
         (peak.agreed ? "" : ", on a busy machine: its measurements differ by more than 3 %");
}

std::string peaks_text(const char* type, const Peaks& peaks, int threads) {
  std::string text = formatted("Matmul peak, %s: %.0f GFLOP/s on one thread (%s)\n", type,
                               peaks.one.gflops, age_text(peaks.one).c_str());
  if (threads == 1) return text;
  return text + formatted("  %.0f GFLOP/s on %d threads (%s)\n", peaks.all.gflops, threads,
                          age_text(peaks.all).c_str());
}

std::string kept_text(const MatmulPeak& peak) {
  if (!peak.not_kept.empty()) {
    return "The peak is measured by each command, since it cannot be kept: " + peak.not_kept + "\n";
  }
  return "Kept in " + matmul_peak_file().value_or("").string() +
         "; mixflow info --measure renews it\n";
}

nlohmann::ordered_json json_of(const Peaks& peaks) {
  return {{"one_thread", peaks.one.gflops},
          {"all_threads", peaks.all.gflops},
          {"agreed", peaks.one.agreed && peaks.all.agreed},
          {"age_s", std::max(age_s(peaks.one), age_s(peaks.all))}};
}

}  // namespace

int run(const InfoCommand& o) {
  const int threads = start_threads(o.threads);
  const CpuInfo cpu = cpu_info();
  const Peaks f32 = peaks_of(threads, false, o.measure), bf16 = peaks_of(threads, true, o.measure);
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
        {"matmul_gflops", {{"f32", json_of(f32)}, {"bf16", json_of(bf16)}}},
    };
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    std::printf("mixflow %s, %s build, compiler %s\n", MIXFLOW_VERSION, MIXFLOW_BUILD_TYPE,
                __VERSION__);
    std::printf("CPU: %s\n  %s\n  caches: L1 %s, L2 %s per core, L3 %s; threads: %d\n",
                cpu.name.c_str(), cpu.features.c_str(), format_bytes(cpu.l1_bytes).c_str(),
                format_bytes(cpu.l2_bytes).c_str(), format_bytes(cpu.l3_bytes).c_str(), threads);
    std::printf("Kernels: %s; oneDNN %s\n", cpu.kernels.c_str(), cpu.onednn.c_str());
    std::printf("%s%s%s", peaks_text("f32", f32, threads).c_str(),
                peaks_text(("bf16 (" + cpu.bf16_kernels + ")").c_str(), bf16, threads).c_str(),
                kept_text(f32.one).c_str());
  }
  return 0;
}

}  // namespace mixflow
