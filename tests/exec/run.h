// Runs of compiled graphs for tests: every way to run one graph, compared with the reference.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "exec/executor.h"
#include "exec/graphs.h"
#include "ops/op_list.h"
#include "ops/reference.h"

namespace mixflow::testing {

using Bytes = std::vector<std::byte>;

// Values as a tensor of that type holds them.
inline Bytes stored(const Tensor64& values, DType dtype) {
  Bytes bytes(values.size() * static_cast<std::size_t>(dtype_bytes(dtype)));
  for (std::size_t e = 0; e < values.size(); ++e) {
    const auto single = static_cast<float>(values[e]);
    const auto whole = static_cast<std::int32_t>(dtype == DType::i32 ? values[e] : 0);
    if (dtype == DType::f64) std::memcpy(&bytes[8 * e], &values[e], 8);
    if (dtype == DType::f32) std::memcpy(&bytes[4 * e], &single, 4);
    if (dtype == DType::i32) std::memcpy(&bytes[4 * e], &whole, 4);
  }
  return bytes;
}

inline std::vector<Bytes> stored(const std::vector<Tensor64>& tensors, const Graph& graph) {
  std::vector<Bytes> bytes;
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    bytes.push_back(stored(tensors[k], graph.type(graph.outputs[k]).dtype));
  }
  return bytes;
}

inline void give(Executor& executor, const Graph& graph, const std::vector<Tensor64>& inputs) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Bytes bytes = stored(inputs[i], graph.type(graph.inputs[i]).dtype);
    if (!bytes.empty())
      std::memcpy(executor.input(static_cast<int>(i)), bytes.data(), bytes.size());
  }
}

inline std::vector<Bytes> take(const Executor& executor, const Graph& graph) {
  std::vector<Bytes> outputs;
  for (std::size_t k = 0; k < graph.outputs.size(); ++k) {
    const std::byte* data = executor.output(static_cast<int>(k));
    outputs.emplace_back(data, data + executor.output_bytes(static_cast<int>(k)));
  }
  return outputs;
}

// Random inputs: floats in [-1, 1], whole numbers in [0, 3).
inline std::vector<Tensor64> draw_for(const Graph& graph, unsigned seed) {
  RandomGraph random(seed);
  std::vector<Tensor64> inputs;
  for (const Id in : graph.inputs) {
    inputs.push_back(random.tensor(graph.type(in).elements()));
    if (is_float(graph.type(in).dtype)) continue;
    for (double& value : inputs.back()) value = random.below(3);
  }
  return inputs;
}

// Equal but for rounding; where one overflows, both do.
inline bool close(const std::vector<Bytes>& found, const std::vector<Tensor64>& expected,
                  const Graph& graph) {
  for (std::size_t k = 0; k < expected.size(); ++k) {
    if (graph.type(graph.outputs[k]).dtype != DType::f64) {
      if (found[k] != stored(expected[k], graph.type(graph.outputs[k]).dtype)) return false;
      continue;
    }
    double scale = 1;
    for (const double e : expected[k]) {
      if (std::isfinite(e)) scale = std::max(scale, std::abs(e));
    }
    for (std::size_t e = 0; e < expected[k].size(); ++e) {
      double value;
      std::memcpy(&value, &found[k][8 * e], 8);
      if (!std::isfinite(value) && !std::isfinite(expected[k][e])) continue;
      if (!(std::abs(value - expected[k][e]) <= 1e-9 * scale)) return false;
    }
  }
  return true;
}

// Runs a graph in f64: checked, with the bits of the reference evaluation of the same program, and
// close to that of the graph as it was; split over threads, close again. In f32: with the same bits
// whether memory is shared or not. With its loops and with short ones inlined, and twice each: a
// run leaves nothing behind that the next one reads.
inline void check_runs(const GraphPtr& graph, unsigned seed = 1,
                       const std::vector<Donation>& donations = {}) {
  const std::vector<Tensor64> inputs = draw_for(*graph, seed);
  const std::vector<Tensor64> exact = evaluate(*lower_grad(*graph), inputs);
  const auto run_twice = [&](Executor& executor, const Graph& typed) {
    std::vector<Bytes> first;
    for (int repeat = 0; repeat < 2; ++repeat) {
      give(executor, typed, inputs);
      executor.run();
      CHECK(executor.arena_peak_bytes() == executor.program().dynamic_bytes);
      if (repeat == 0) first = take(executor, typed);
    }
    CHECK(take(executor, typed) == first);
    return first;
  };
  // Without maps nothing is split.
  const int most_threads = count_ops(*graph, op::k_map) > 0 ? 3 : 1;
  const auto check_in_f64 = [&](const PlanOptions& options) {
    Executor executor(compile(graph, donations, options), {.checked = true});
    const std::vector<Bytes> found = run_twice(executor, *graph);
    if (options.threads == 1)
      CHECK(found == stored(evaluate(*executor.program().graph, inputs), *graph));
    CHECK(close(found, exact, *graph));
  };
  const GraphPtr single = retyped(*graph, DType::f32);
  const auto check_in_f32 = [&](PlanOptions options) {
    Executor shared(compile(single, donations, options), {.checked = true});
    options.share = options.poison = false;
    Executor apart(compile(single, donations, options));
    CHECK(run_twice(shared, *single) == run_twice(apart, *single));
    CHECK(shared.program().dynamic_bytes <= apart.program().dynamic_bytes);
  };
  for (int threads = 1; threads <= most_threads; ++threads) {
    for (const bool inline_loops : {false, true}) {
      CAPTURE(threads);
      CAPTURE(inline_loops);
      const PlanOptions options{.threads = threads, .poison = true, .inline_loops = inline_loops};
      check_in_f64(options);
      if (threads <= 2) check_in_f32(options);
    }
  }
}

}  // namespace mixflow::testing
