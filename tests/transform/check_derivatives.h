// Checks of whole graphs in float64: jvp against central differences, vjp against jvp, each graph
// verified.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "graph/print.h"
#include "graph/verify.h"
#include "ops/op_list.h"
#include "ops/reference.h"
#include "transform/transform.h"
#include "util/rng.h"

namespace mixflow::testing {

using Tensors = std::vector<Tensor64>;

inline Type f64(Shape shape) { return {DType::f64, std::move(shape)}; }

inline Tensor64 draw(const Type& type, Rng& rng, double low = -1, double high = 1) {
  Tensor64 values(static_cast<std::size_t>(type.elements()));
  for (double& value : values) value = is_float(type.dtype) ? rng.uniform(low, high) : 0;
  return values;
}

inline Tensors draw_inputs(const Graph& graph, Rng& rng, double low = -1, double high = 1) {
  Tensors result;
  for (Id id : graph.inputs) result.push_back(draw(graph.type(id), rng, low, high));
  return result;
}

inline Mask float_inputs(const Graph& graph) {
  Mask mask;
  for (Id id : graph.inputs) mask.push_back(is_float(graph.type(id).dtype));
  return mask;
}

inline Mask float_outputs(const Graph& graph) {
  Mask mask;
  for (Id id : graph.outputs) mask.push_back(is_float(graph.type(id).dtype));
  return mask;
}

inline Tensors run(const Graph& graph, const Tensors& inputs) {
  verify(graph);
  if (count_ops(graph, op::k_grad) == 0) return evaluate(graph, inputs);
  const GraphPtr lowered = lower_grad(graph);  // the reference knows no grad nodes
  verify(*lowered);
  return evaluate(*lowered, inputs);
}

inline void append(Tensors& to, const Tensors& from) {
  to.insert(to.end(), from.begin(), from.end());
}

// Largest difference, relative to the larger of 1 and the largest value.
inline double distance(const Tensor64& a, const Tensor64& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0, scale = 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, std::abs(a[i] - b[i]));
    scale = std::max({scale, std::abs(a[i]), std::abs(b[i])});
    if (std::isnan(a[i]) != std::isnan(b[i])) return INFINITY;
  }
  return worst / scale;
}

inline double distance(const Tensors& a, const Tensors& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, distance(a[i], b[i]));
  return worst;
}

inline double inner(const Tensors& a, const Tensors& b) {
  REQUIRE(a.size() == b.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].size() == b[i].size());
    for (std::size_t j = 0; j < a[i].size(); ++j) sum += a[i][j] * b[i][j];
  }
  return sum;
}

// J x_dot, zeros where the tangent is symbolic; x_dot has an entry for each input in `active`.
inline Tensors push(const Graph& graph, const Mask& active, const Tensors& x,
                    const Tensors& x_dot) {
  const JvpResult result = jvp(graph, active);
  Tensors inputs = x;
  append(inputs, x_dot);
  const Tensors out = run(*result.graph, inputs);
  Tensors tangents;
  std::size_t next = graph.outputs.size();
  for (std::size_t j = 0; j < graph.outputs.size(); ++j) {
    tangents.push_back(result.out_nonzero[j] ? out[next++] : Tensor64(out[j].size(), 0));
  }
  return tangents;
}

// J^T y_bar for each input in `active`; y_bar has an entry for each output in `bars`.
inline Tensors pull(const Graph& graph, const Mask& active, const Mask& bars, const Tensors& x,
                    const Tensors& y_bar) {
  const VjpResult result = vjp(graph, active, bars);
  Tensors inputs = x;
  append(inputs, y_bar);
  const Tensors out = run(*result.graph, inputs);
  Tensors cotangents;
  std::size_t next = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!active[i]) continue;
    cotangents.push_back(result.in_nonzero[i] ? out[next++] : Tensor64(x[i].size(), 0));
  }
  return cotangents;
}

// For each float output.
inline Tensors pull(const Graph& graph, const Mask& active, const Tensors& x,
                    const Tensors& y_bar) {
  return pull(graph, active, float_outputs(graph), x, y_bar);
}

struct CheckOptions {
  double low = -1, high = 1;
  bool differences = true;  // false: the function has kinks, compare the modes only
  int order = 2;            // of the derivatives compared
};

// jvp against central differences, vjp against jvp, then the same for the graph of x, y_bar -> J^T
// y_bar.
inline void check_derivatives(const Graph& graph, const CheckOptions& options = {}) {
  verify(graph);
  Rng rng(7, Purpose::check);
  const Mask active = float_inputs(graph), outputs = float_outputs(graph);
  const Tensors x = draw_inputs(graph, rng, options.low, options.high);
  Tensors x_dot, y_bar;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (active[i]) x_dot.push_back(draw(graph.type(graph.inputs[i]), rng));
  }
  for (std::size_t j = 0; j < outputs.size(); ++j) {
    if (outputs[j]) y_bar.push_back(draw(graph.type(graph.outputs[j]), rng));
  }
  const Tensors y_dot = push(graph, active, x, x_dot);
  if (options.differences) {
    const auto moved = [&](double step) {
      Tensors at = x;
      std::size_t next = 0;
      for (std::size_t i = 0; i < at.size(); ++i) {
        if (!active[i]) continue;
        for (std::size_t e = 0; e < at[i].size(); ++e) at[i][e] += step * x_dot[next][e];
        ++next;
      }
      return run(graph, at);
    };
    constexpr double kStep = 1e-5;
    const Tensors ahead = moved(kStep), behind = moved(-kStep);
    Tensors differences = ahead;
    for (std::size_t j = 0; j < ahead.size(); ++j) {
      for (std::size_t e = 0; e < ahead[j].size(); ++e) {
        differences[j][e] = outputs[j] ? (ahead[j][e] - behind[j][e]) / (2 * kStep) : 0;
      }
    }
    CHECK(distance(y_dot, differences) < 1e-7);
  }
  Tensors float_y_dot;
  for (std::size_t j = 0; j < outputs.size(); ++j) {
    if (outputs[j]) float_y_dot.push_back(y_dot[j]);
  }
  const double forward = inner(y_bar, float_y_dot);
  const double backward = inner(pull(graph, active, x, y_bar), x_dot);
  CHECK(std::abs(forward - backward) <= 1e-11 * (1 + std::abs(forward)));
  if (options.order < 2) return;
  CheckOptions next = options;
  --next.order;
  const VjpResult gradient = vjp(graph, active, outputs);
  if (!gradient.graph->outputs.empty()) check_derivatives(*gradient.graph, next);
}

}  // namespace mixflow::testing
