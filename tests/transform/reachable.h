// Questions to Reach, for tests.
#pragma once

#include "transform/reach.h"
#include "util/error.h"

namespace mixflow {

// Which outputs depend on these inputs through differentiable ops.
inline Mask reachable_outputs(const Graph& graph, const Mask& inputs) {
  MIXFLOW_CHECK(inputs.size() == graph.inputs.size(), "one bit per input is needed");
  const BitRows rows = Reach().of_graph(graph);
  Mask result;
  for (std::size_t j = 0; j < rows.rows(); ++j) result.push_back(rows.any(j, inputs));
  return result;
}

// Which inputs these outputs depend on through differentiable ops.
inline Mask reaching_inputs(const Graph& graph, const Mask& outputs) {
  MIXFLOW_CHECK(outputs.size() == graph.outputs.size(), "one bit per output is needed");
  const BitRows rows = Reach().of_graph(graph);
  Mask result(rows.columns(), false);
  for (std::size_t j = 0; j < rows.rows(); ++j) {
    for (std::size_t i = 0; outputs[j] && i < rows.columns(); ++i) {
      if (rows.get(j, i)) result[i] = true;
    }
  }
  return result;
}

}  // namespace mixflow
