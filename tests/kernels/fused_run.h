// Runs a FusedSpec between guard bytes and compares it with its naive meaning.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/fused_reference.h"
#include "kernels/guarded.h"

namespace mixflow::testing {

struct Run {
  std::vector<std::vector<float>> outputs;
  bool intact = true;
};

// skip: this output is null. over[j]: output j takes that input's buffer.
inline Run run(const Kernel& kernel, const FusedSpec& spec, const std::vector<Doubles>& inputs,
               int skip = -1, const std::vector<int>& over = {}) {
  std::vector<Guarded> in_buffers, out_buffers;
  for (const Doubles& input : inputs) {
    in_buffers.emplace_back(static_cast<std::int64_t>(input.size() * sizeof(float)), 4);
    for (std::size_t i = 0; i < input.size(); ++i)
      in_buffers.back().as<float>()[i] = static_cast<float>(input[i]);
  }
  Guarded scratch(kernel.scratch_bytes);
  std::vector<const std::byte*> in;
  std::vector<std::byte*> out;
  for (Guarded& buffer : in_buffers) in.push_back(buffer.data());
  for (const auto& output : spec.outputs) {
    out_buffers.emplace_back(
        elements_over(spec, output.axes) * static_cast<std::int64_t>(sizeof(float)), 8);
  }
  for (std::size_t j = 0; j < spec.outputs.size(); ++j) {
    const bool in_place = j < over.size() && over[j] >= 0;
    out.push_back(in_place ? in_buffers[static_cast<std::size_t>(over[j])].data()
                           : out_buffers[j].data());
    if (static_cast<int>(j) == skip) out[j] = nullptr;
  }
  kernel.run(in.data(), out.data(), scratch.data());
  Run result;
  for (std::size_t j = 0; j < spec.outputs.size(); ++j) {
    const auto n = static_cast<std::size_t>(elements_over(spec, spec.outputs[j].axes));
    result.outputs.emplace_back(n);
    if (out[j] != nullptr && n > 0)
      std::memcpy(result.outputs[j].data(), out[j], n * sizeof(float));
    result.intact &= out_buffers[j].intact();
  }
  for (Guarded& buffer : in_buffers) result.intact &= buffer.intact();
  result.intact &= scratch.intact();
  return result;
}

inline Run run(const FusedSpec& spec, const std::vector<Doubles>& inputs, int skip = -1,
               const std::vector<int>& over = {}) {
  return run(*make_fused(spec), spec, inputs, skip, over);
}

// Of all outputs, against naive_fused, relative to 1 and the terms of sums.
inline double worst_error(const FusedSpec& spec, const std::vector<Doubles>& inputs,
                          const Run& result) {
  std::vector<Doubles> weights;
  const std::vector<Doubles> expected = naive_fused(spec, inputs, &weights);
  double worst = 0;
  for (std::size_t j = 0; j < expected.size(); ++j) {
    for (std::size_t i = 0; i < expected[j].size(); ++i) {
      const double error = std::abs(static_cast<double>(result.outputs[j][i]) - expected[j][i]);
      worst = std::max(worst, error / (1 + weights[j][i]));
    }
  }
  return worst;
}

}  // namespace mixflow::testing
