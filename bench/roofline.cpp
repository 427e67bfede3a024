#include "bench/roofline.h"

#include <algorithm>
#include <chrono>

#include "kernels/cpu.h"
#include "kernels/team.h"

namespace mixflow::bench {
namespace {

// The best of as many sweeps as take this long.
constexpr double kSeconds = 0.4;
// In all: within a core's second-level cache, within the shared cache of most, in memory.
constexpr std::int64_t kTriadBytes[] = {std::int64_t{384} << 10, std::int64_t{12} << 20,
                                        std::int64_t{384} << 20};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Triad measure_triad(std::int64_t bytes, int threads) {
  const std::int64_t n = bytes / 12;
  std::vector<float> a(static_cast<std::size_t>(n)), b(a.size(), 1.0F), c(a.size(), 2.0F);
  // So many that starting threads and reading the clock do not count.
  const int sweeps = static_cast<int>(std::max<std::int64_t>(1, (std::int64_t{64} << 20) / bytes));
  float* to = a.data();
  const float *x = b.data(), *y = c.data();
  double best = 1e9;
  for (const double end = now() + kSeconds; now() < end;) {
    const double begin = now();
    run_parts(threads, [&](int part) {
      const auto [first, last] = share_of(n, part, threads);
      for (int sweep = 0; sweep < sweeps; ++sweep) {
        const float factor = static_cast<float>(sweep);
        for (std::int64_t i = first; i < last; ++i) to[i] = x[i] + factor * y[i];
      }
    });
    best = std::min(best, (now() - begin) / sweeps);
  }
  return {bytes, static_cast<double>(12 * n) / best};
}

}  // namespace

double Roofline::bytes_per_s(std::int64_t footprint) const {
  for (const Triad& triad : triads) {
    if (triad.bytes >= footprint) return triad.bytes_per_s;
  }
  return triads.back().bytes_per_s;
}

double Roofline::seconds(std::int64_t flop, std::int64_t bytes, std::int64_t footprint) const {
  return std::max(static_cast<double>(flop) / flop_per_s,
                  static_cast<double>(bytes) / bytes_per_s(footprint));
}

Roofline measure_roofline(int threads) {
  Roofline roofline{.flop_per_s = measure_matmul_gflops(threads) * 1e9, .triads = {}};
  for (const std::int64_t bytes : kTriadBytes) {
    roofline.triads.push_back(measure_triad(bytes, threads));
  }
  return roofline;
}

}  // namespace mixflow::bench
