// Speed of mixflow's kernels under Google Benchmark: bytes/s, FLOP/s and the share of the roofline
// that was measured at the start of the same run. Each case goes through the passes, the planner
// and the executor, so that what is measured is what runs.
//
//   kernel_bench [--threads=N] [Google Benchmark's own options]
#include <benchmark/benchmark.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "bench/cases.h"
#include "bench/roofline.h"
#include "exec/executor.h"
#include "plan/lower.h"
#include "train/threads.h"
#include "util/rng.h"

namespace mixflow::bench {
namespace {

// Positive, as second moments must be.
void fill_inputs(Executor& executor, const Case& which) {
  Rng rng(1, Purpose::check);
  for (std::size_t i = 0; i < which.graph->inputs.size(); ++i) {
    const Type& type = which.graph->type(which.graph->inputs[i]);
    std::byte* data = executor.input(static_cast<int>(i));
    for (std::int64_t e = 0; e < type.elements(); ++e) {
      if (type.dtype == DType::i32) {
        reinterpret_cast<std::int32_t*>(data)[e] =
            static_cast<std::int32_t>(rng.uniform(0, static_cast<double>(which.ids)));
      } else {
        reinterpret_cast<float*>(data)[e] = static_cast<float>(rng.uniform(0.1, 1));
      }
    }
  }
}

// Read and written by all nodes, from and to memory or caches.
std::int64_t moved_bytes(const Graph& graph) {
  std::int64_t bytes = 0;
  for (const Node& node : graph.nodes) {
    const Cost cost = cost_of(graph, node);
    bytes += cost.bytes_read + cost.bytes_written;
  }
  return bytes;
}

void measure(benchmark::State& state, const Case& which, const Roofline& roofline, int threads) {
  Executor executor(compile(which.graph, {}, {.threads = threads}));
  fill_inputs(executor, which);
  const Program& program = executor.program();
  const std::int64_t bytes = moved_bytes(*program.graph);
  const std::int64_t footprint = program.static_bytes + program.dynamic_bytes;
  for ([[maybe_unused]] auto _ : state) executor.run();
  const auto rate = [&](double amount) {
    return benchmark::Counter(amount, benchmark::Counter::kIsIterationInvariantRate);
  };
  state.counters["bytes_per_s"] = rate(static_cast<double>(bytes));
  state.counters["flop_per_s"] = rate(static_cast<double>(program.flop));
  state.counters["roofline_share"] = rate(roofline.seconds(program.flop, bytes, footprint));
  state.counters["nodes"] = static_cast<double>(program.graph->nodes.size());
  state.counters["footprint_bytes"] = static_cast<double>(footprint);
}

void add_context(const Roofline& roofline, int threads) {
  const auto number = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6g", value);
    return std::string(text);
  };
  benchmark::AddCustomContext("mixflow_threads", std::to_string(threads));
  benchmark::AddCustomContext("matmul_flop_per_s", number(roofline.flop_per_s));
  for (const Triad& triad : roofline.triads) {
    benchmark::AddCustomContext("triad_bytes_per_s/" + std::to_string(triad.bytes),
                                number(triad.bytes_per_s));
  }
}

// Takes --threads=N out of the arguments; 0: all cores.
int threads_asked(int& argc, char** argv) {
  constexpr std::string_view kOption = "--threads=";
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (!argument.starts_with(kOption)) continue;
    int threads = 0;
    const char* end = argument.data() + argument.size();
    const auto [rest, error] = std::from_chars(argument.data() + kOption.size(), end, threads);
    if (error != std::errc() || rest != end || threads < 0) return -1;
    for (int j = i; j < argc; ++j) argv[j] = argv[j + 1];  // argv[argc] is null
    --argc;
    return threads;
  }
  return 0;
}

int run(int argc, char** argv) {
  const int asked = threads_asked(argc, argv);
  if (asked < 0) {
    std::fputs("kernel_bench: --threads takes a whole number from 0 (all cores)\n", stderr);
    return 2;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const int threads = start_threads(asked);
  const Roofline roofline = measure_roofline(threads);
  add_context(roofline, threads);
  for (const Case& which : cases()) {
    benchmark::RegisterBenchmark(which.name.c_str(), [which, &roofline, threads](auto& state) {
      measure(state, which, roofline, threads);
    })->UseRealTime();
  }
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace
}  // namespace mixflow::bench

int main(int argc, char** argv) { return mixflow::bench::run(argc, argv); }
