// Where the time of one meta-step goes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "exec/trace.h"

namespace mixflow {

struct ProfileLine {
  std::string what;
  std::int64_t calls = 0;
  // Of all threads. Inside loops that are split over threads a kernel counts on its own; elsewhere
  // on all threads, whether it uses them or not, since they wait for it.
  double seconds = 0;
  double share = 0;  // of the time of all threads
  double flop = 0;
  double gflops() const { return seconds > 0 ? flop / seconds * 1e-9 : 0; }  // per thread
};

struct Profile {
  double seconds = 0;  // of the meta-step
  int threads = 1;
  std::vector<ProfileLine> kinds;  // by op, the longest first; "idle": no kernel ran
  std::vector<ProfileLine> nodes;  // by op, operand types and place in the model, the longest first
};

// Of a run that took `seconds`.
Profile profile(const Trace& trace, double seconds);

// `gflops`: the matmul peak of all threads, of which shares are printed.
std::string to_text(const Profile& profile, double gflops);

// Chrome's trace format (chrome://tracing, ui.perfetto.dev): a span for each kernel and loop by
// thread, and a counter of the planned bytes alive.
std::string to_chrome_json(const Trace& trace);

}  // namespace mixflow
