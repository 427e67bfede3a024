// Inputs for the tests that walk all ops: drawn from an op's samples, always the same.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "graph/op.h"
#include "ops/op_list.h"
#include "ops/reference.h"
#include "util/rng.h"

namespace mixflow::testing {

inline Tensor64 draw(const Type& type, const Sample& sample, Rng& rng) {
  Tensor64 values(static_cast<std::size_t>(type.elements()));
  for (double& value : values) {
    if (!is_float(type.dtype)) {
      value = static_cast<double>(rng.below(static_cast<std::uint64_t>(sample.index_limit)));
    } else {
      value = rng.uniform(sample.low, sample.high);
      if (sample.whole) value = std::round(value);
    }
  }
  return values;
}

inline std::vector<Tensor64> draw_inputs(const Sample& sample, Rng& rng) {
  std::vector<Tensor64> inputs;
  for (const Type& type : sample.in) inputs.push_back(draw(type, sample, rng));
  return inputs;
}

// "dot(f32[3,5], f32[5,7])", to find the sample of a failed check.
inline std::string describe(const OpDef& op, const Sample& sample) {
  std::string text = std::string(op.name) + "(";
  for (std::size_t i = 0; i < sample.in.size(); ++i) {
    text += (i == 0 ? "" : ", ") + to_string(sample.in[i]);
  }
  return text + ") axes " + to_string(sample.attrs.axes);
}

inline Tensor64 run_ref(const OpDef& op, const Sample& sample,
                        const std::vector<Tensor64>& inputs) {
  const Type out_type = op.infer(sample.in, sample.attrs);
  Tensor64 out(static_cast<std::size_t>(out_type.elements()));
  std::vector<const double*> in;
  for (const Tensor64& input : inputs) in.push_back(input.data());
  op.ref({sample.in, in, out_type, out.data(), sample.attrs});
  return out;
}

// Calls test(op, sample, rng) for each sample of each op.
template <class Test>
void for_each_sample(Test test) {
  for (std::size_t i = 0; i < all_ops().size(); ++i) {
    Rng rng(1, Purpose::check, i);
    for (const Sample& sample : all_ops()[i]->samples()) test(*all_ops()[i], sample, rng);
  }
}

}  // namespace mixflow::testing
