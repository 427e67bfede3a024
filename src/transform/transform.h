// The transforms: functions from graph to graph, closed under each other. Every rule of an op is in
// its OpDef; here are the walks, and the rules of the structural ops.
#pragma once

#include <span>
#include <vector>

#include "graph/graph.h"
#include "ops/builder.h"

namespace mixflow {

using Mask = std::vector<bool>;

struct JvpResult {
  GraphPtr graph;  // inputs: primals, then a tangent for each input i with nonzero[i]
                   // outputs: primal outputs, then a tangent for each output j with out_nonzero[j]
  Mask out_nonzero;
};
// Tangents of inputs outside `nonzero` are symbolic zeros. i32 inputs must not be in it. Loops keep
// their policies and the names inside; the tangent of a named value has the same name.
JvpResult jvp(const Graph& graph, const Mask& nonzero);

struct VjpResult {
  GraphPtr graph;   // inputs: primals, then a cotangent for each output j with out_nonzero[j]
                    // outputs: (primal outputs if keep_primal), then a cotangent for each input i
                    // with in_nonzero[i]
  Mask in_nonzero;  // subset of `active`: the others are zero
};
VjpResult vjp(const Graph& graph, const Mask& active, const Mask& out_nonzero,
              bool keep_primal = false);

// Cotangents of `xs` inside a builder, given cotangents of `ys` (kNone: zero). Appends to the
// builder; scans on the way are extended by the residuals their policy keeps. Results may be kNone.
// An x may be any value: what flows through it goes on to other xs that it depends on. What is
// appended for a node labelled "a" is labelled "a bar". Loops leave code that nothing needs in the
// bodies they extend: dce comes after.
Ids pullback(Builder& builder, std::span<const Id> ys, std::span<const Id> y_bars,
             std::span<const Id> xs);

// Tangents of the outputs of `graph`, whose inputs are `in` of the builder, with tangents `dots`
// (kNone: zero). Results may be kNone. Primal values that the builder has already are used, the
// others appended; each loop goes on computing its primal values and keeps, by its policy, what the
// loop of its tangents reads. Where vjp and jvp would compute primal values again, this shares
// them.
Ids pushforward(Builder& builder, const Graph& graph, std::span<const Id> in,
                std::span<const Id> dots);

// The graph over n independent instances: inputs with batched[i] have a leading axis n; all outputs
// have it.
GraphPtr vmap(const Graph& graph, const Mask& batched, std::int64_t n);

// Replaces every grad node, in all bodies, by its value-and-gradient graph. Before the outer vjp
// this makes mixed mode into reverse mode; first-order gradients stay constants (stop_gradient).
GraphPtr lower_grad(const Graph& graph);

// --- passes: same inputs and outputs, same meaning ---

// Drops what no output needs, in all bodies: results, carries (liveness by fixpoint), unused inputs
// of bodies, duplicate inputs; turns invariant carries into constants, and constants of loops that
// are `full` into part of the body. Bodies are rebuilt on the way, so this simplifies as well.
GraphPtr dce(const Graph& graph);
// Rebuilds every body through the builder, which simplifies and shares equal nodes within one body,
// never across bodies.
GraphPtr simplify(const Graph& graph);
// simplify and dce until nothing changes, three rounds at most.
GraphPtr clean(const Graph& graph);

}  // namespace mixflow
