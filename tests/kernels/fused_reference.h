// The naive meaning of a FusedSpec, in float64: every value as a full array over the space.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/fused.h"

namespace mixflow::testing {

using Doubles = std::vector<double>;

inline std::int64_t elements_over(const FusedSpec& spec, AxisMask axes) {
  std::int64_t n = 1;
  for (std::size_t k = 0; k < spec.space.size(); ++k) {
    if (((axes >> k) & 1u) != 0) n *= spec.space[k];
  }
  return n;
}

inline AxisMask all_axes(const FusedSpec& spec) { return (AxisMask{1} << spec.space.size()) - 1; }

// Where point p of the space lies in a dense buffer over `axes`.
inline std::size_t offset_of(const FusedSpec& spec, AxisMask axes, std::int64_t p) {
  std::int64_t offset = 0, stride = 1;
  for (std::size_t k = spec.space.size(); k-- > 0; p /= spec.space[k]) {
    if (((axes >> k) & 1u) == 0) continue;
    offset += p % spec.space[k] * stride;
    stride *= spec.space[k];
  }
  return static_cast<std::size_t>(offset);
}

inline double apply(TileOp op, double a, double b, double c) {
  switch (op) {
    case TileOp::copy:
      return a;
    case TileOp::neg:
      return -a;
    case TileOp::exp:
      return std::exp(a);
    case TileOp::log:
      return std::log(a);
    case TileOp::sqrt:
      return std::sqrt(a);
    case TileOp::rsqrt:
      return 1 / std::sqrt(a);
    case TileOp::reciprocal:
      return 1 / a;
    case TileOp::square:
      return a * a;
    case TileOp::tanh:
      return std::tanh(a);
    case TileOp::sigmoid:
      return a < 0 ? std::exp(a) / (1 + std::exp(a)) : 1 / (1 + std::exp(-a));
    case TileOp::softplus:
      return std::fmax(a, 0) + std::log1p(std::exp(-std::abs(a)));
    case TileOp::sin:
      return std::sin(a);
    case TileOp::cos:
      return std::cos(a);
    case TileOp::abs:
      return std::abs(a);
    case TileOp::sign:
      return static_cast<double>((a > 0) - (a < 0));
    case TileOp::relu:
      return a < 0 ? 0 : a;
    case TileOp::step:
      return a > 0 ? 1 : 0;
    case TileOp::add:
      return a + b;
    case TileOp::sub:
      return a - b;
    case TileOp::mul:
      return a * b;
    case TileOp::div:
      return a / b;
    case TileOp::max:
      return a < b ? b : a;
    case TileOp::min:
      return b < a ? b : a;
    case TileOp::pow:
      return std::pow(a, b);
    case TileOp::less:
      return a < b ? 1 : 0;
    case TileOp::equal:
      return a == b ? 1 : 0;
    case TileOp::select:
      return a != 0 ? b : c;
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

// Outputs; `weights` gets the same with absolute values in the sums, to judge their errors by.
inline std::vector<Doubles> naive_fused(const FusedSpec& spec, const std::vector<Doubles>& inputs,
                                        std::vector<Doubles>* weights) {
  const std::int64_t points = elements_over(spec, all_axes(spec));
  const auto n = static_cast<std::size_t>(points);
  std::vector<Doubles> values;
  for (const auto& operand : spec.operands) {
    Doubles v(n);
    for (std::int64_t p = 0; p < points; ++p) {
      v[static_cast<std::size_t>(p)] =
          inputs[static_cast<std::size_t>(operand.input)][offset_of(spec, operand.axes, p)];
    }
    values.push_back(std::move(v));
  }
  const auto at = [&](std::int32_t id, std::size_t p) {
    return id < 0 ? 0 : values[static_cast<std::size_t>(id)][p];
  };
  for (const auto& instr : spec.instrs) {
    Doubles v(n, instr.imm);
    if (instr.op == TileOp::iota) {
      for (std::size_t p = 0; p < n; ++p) {
        v[p] = static_cast<double>(
            offset_of(spec, AxisMask{1} << instr.axis, static_cast<std::int64_t>(p)));
      }
    } else if (instr.op == TileOp::sum || instr.op == TileOp::max_reduce) {
      const auto cols = static_cast<std::size_t>(spec.space.back());
      const bool is_sum = instr.op == TileOp::sum;
      for (std::size_t row = 0; row < n; row += cols) {
        double r = is_sum ? 0 : -std::numeric_limits<double>::infinity();
        for (std::size_t c = 0; c < cols; ++c)
          r = is_sum ? r + at(instr.a, row + c) : std::fmax(r, at(instr.a, row + c));
        for (std::size_t c = 0; c < cols; ++c) v[row + c] = r;
      }
    } else if (instr.op == TileOp::reverse) {
      const auto row = static_cast<std::size_t>(spec.space.back());
      const std::size_t block = row * static_cast<std::size_t>(spec.space[spec.space.size() - 2]);
      for (std::size_t p = 0; p < n; ++p)
        v[p] = at(instr.a, p - p % block + (block - row - p % block / row * row) + p % row);
    } else if (instr.op != TileOp::full) {
      for (std::size_t p = 0; p < n; ++p)
        v[p] = apply(instr.op, at(instr.a, p), at(instr.b, p), at(instr.c, p));
    }
    values.push_back(std::move(v));
  }
  std::vector<Doubles> outputs;
  for (const auto& output : spec.outputs) {
    Doubles out(static_cast<std::size_t>(elements_over(spec, output.axes)), 0.0);
    Doubles weight = out;
    for (std::size_t p = 0; p < n; ++p) {
      const double x = at(output.value, p);
      const std::size_t to = offset_of(spec, output.axes, static_cast<std::int64_t>(p));
      out[to] = output.sum ? out[to] + x : x;
      weight[to] = output.sum ? weight[to] + std::abs(x) : std::abs(x);
    }
    outputs.push_back(std::move(out));
    if (weights != nullptr) weights->push_back(std::move(weight));
  }
  return outputs;
}

}  // namespace mixflow::testing
