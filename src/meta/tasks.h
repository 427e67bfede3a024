// Graphs of one task and the loop over the tasks of a meta-batch.
//
// All task graphs have the inputs (theta_0.., shared.. | inner fields [T or 1, B, ..].., outer
// fields [B, ..]..): the first group is the same for all tasks, the second is each task's own.
// Where the inner state is carried from one meta-step to the next, it takes the place of theta_0
// and is the task's own: (shared.. | theta.., opt_state.., inner fields.., outer fields..).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "meta/unroll.h"
#include "transform/transform.h"

namespace mixflow {

// What the graphs of one experiment's tasks are built from; references outlive the calls.
struct TaskSetting {
  const Config& config;
  const Model& model;
  const Hypers& hypers;
  const Unroll& unroll;
  const InnerData& inner_data;
  DType dtype;
};

enum class Start : std::uint8_t {
  theta0,   // theta_0 and a zero optimiser state
  carried,  // the state that an earlier unroll ended in, a constant
};

// -> (outer loss, inner losses [T], theta_T.., and from a carried state opt_state_T..), with
// symbolic gradients. With `frozen`, the steps before inner.window read their shared values from a
// second group of inputs, after the first: what the truncated gradient holds constant.
GraphPtr task_forward(const TaskSetting& setting, std::span<const Type> outer,
                      Start start = Start::theta0, bool frozen = false);

// -> V on an outer batch: (theta.., outer fields [B, ..]..) -> scalar, all of it the task's own.
GraphPtr task_outer_loss(const TaskSetting& setting, std::span<const Type> outer);

// -> (loss [points], accuracy [points] for classification, variance [points] with `spread`): the
// outer loss after each number of inner steps in `points` (ascending, distinct), with symbolic
// gradients. The variance is that of the examples' losses, over their number.
GraphPtr task_eval(const TaskSetting& setting, std::span<const Type> outer,
                   std::span<const std::int64_t> points, bool spread);

// The meta-gradient of one task: inputs as above, then the outer loss's cotangent; outputs those of
// task_forward, then the cotangents of the inputs with `nonzero`. No symbolic gradients are left.
struct TaskGradient {
  GraphPtr graph;
  Mask nonzero;
};
// `mode` reverse: the inner gradients are lowered first and differentiated as any graph. Otherwise
// the grad nodes' own rule applies: forward over reverse, or none for first order.
TaskGradient task_gradient(const Graph& forward, const Mask& active, Mode mode);

// `graph` over `chunk` tasks at once: inputs from `shared` on (but the last `trailing`) and all
// outputs get a leading axis of that size. chunk 1: the graph itself, without that axis.
GraphPtr over_chunk(GraphPtr graph, std::size_t shared, std::size_t trailing, std::int64_t chunk);

// Runs `body`, (consts.., data..) -> (sums.., ys..) of one chunk, over all tasks. `data` and the ys
// have a leading axis of n tasks. A single chunk is inlined, so that its kernels may use all
// threads; more are a map.
Builder::Loop over_tasks(Builder& b, const GraphPtr& body, std::span<const Id> consts,
                         std::span<const Id> data, std::int64_t n, std::int64_t chunk, int sums);

}  // namespace mixflow
