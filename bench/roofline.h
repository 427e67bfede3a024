// The machine's roofline (Williams et al. 2009), measured: the matmul peak, and the bandwidth of
// triads a = b + s c whose arrays lie in one core's cache, in the shared cache, or in memory.
#pragma once

#include <cstdint>
#include <vector>

namespace mixflow::bench {

struct Triad {
  std::int64_t bytes = 0;  // of the three arrays together
  double bytes_per_s = 0;  // two words read and one written per element
};

struct Roofline {
  double flop_per_s = 0;
  std::vector<Triad> triads;  // ascending in bytes

  // Of the smallest triad that is at least as large, or the largest.
  double bytes_per_s(std::int64_t footprint) const;
  // The least time that work of so many FLOPs and bytes takes, done on `footprint` bytes.
  double seconds(std::int64_t flop, std::int64_t bytes, std::int64_t footprint) const;
};

// Takes about two seconds.
Roofline measure_roofline(int threads);

}  // namespace mixflow::bench
