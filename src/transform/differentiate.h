// What the files of jvp and vjp share: the memory of one transform call, and the entry points by
// which each uses the other (a grad node's vjp is a jvp of a vjp).
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "ops/builder.h"
#include "transform/reach.h"
#include "transform/rebuild.h"
#include "transform/transform.h"

namespace mixflow {

// A loop and its tangents.
struct JvpRegion {
  RegionPtr region;
  Mask in;   // per input of the body: it has a tangent
  Mask out;  // per output of the body: it has a tangent
};

// Where an input of a derivative's loop comes from.
struct Source {
  enum class Kind : std::uint8_t {
    input,       // of the loop's node
    output,      // of the loop's node, once extended
    derivative,  // the cotangent of an output of the loop's node, or the tangent of an input
  };
  Kind kind;
  int index;
};

// A loop that computes cotangents or tangents of another one and runs beside it. Inputs of
// `region`: what `consts` says | its carries | what `xs` says.
struct DerivedLoop {
  RegionPtr extended;  // the other loop, with what this one reads of it; null: as it was
  RegionPtr region;    // null: nothing to do
  std::vector<Source> consts, xs;
};

// The backward pass of a scan or map. Its carries are the cotangents of the loop's `carries` and
// the sum of those of each input in `sums`; it stacks the cotangents of the inputs in `ys`.
struct BackwardLoop : DerivedLoop {
  std::vector<int> carries;
  std::vector<int> sums, ys;  // inputs of the loop's node
};

// The tangents of a scan or map. Its carries are those of the loop's `carries` (a map: sums), its
// stacks those of the outputs in `ys`.
struct TangentLoop : DerivedLoop {
  std::vector<int> carries, ys;  // outputs of the loop's node
};

// The backward pass of a grad node, to be inlined.
struct BackwardGrad {
  struct Output {
    int input;  // of the grad node: this is a part of its cotangent
    bool loss;  // d loss / d input, still to be scaled by the loss's cotangent
  };
  GraphPtr graph;  // inputs: theta, rest, then if second_order the cotangents of the grads that
                   // have one, then the named values of the gradient; null: nothing to do
  std::vector<Output> out;
  bool second_order = false;
  std::vector<std::size_t> named;  // values of the gradient that it is given: which names'
};

// Memory of one transform call. A region is transformed once per set of masks, so equal loops stay
// equal and the work is linear in what is there.
struct Context {
  Reach reach;
  std::map<std::pair<RegionPtr, Mask>, JvpRegion> jvp_regions;
  std::map<std::pair<RegionPtr, Mask>, TangentLoop> tangent_loops;
  std::map<std::tuple<RegionPtr, Mask, Mask>, BackwardLoop> backward_loops;
  std::map<std::tuple<RegionPtr, Mask, Mask, std::vector<std::string>>, BackwardGrad>
      backward_grads;
};

// How many inputs and outputs there are in each group; tangents follow the primals of their group.
struct Groups {
  std::vector<int> in, out;
};

// jvp of a graph or body. Outputs in `forced` get a tangent even if it is zero; empty: none.
JvpResult jvp_graph(Context& context, const Graph& graph, const Mask& nonzero, const Mask& forced,
                    const Groups& groups);

// The public pushforward, with a context.
Ids pushforward(Context& context, Builder& builder, const Graph& graph, std::span<const Id> in,
                std::span<const Id> dots);

// A gradient that the builder has beside its symbolic node.
struct KeptGradient {
  Ids node_out;    // of the grad node
  Mask wanted;     // its inputs with a gradient: every theta, and the active ones of the rest
  GraphPtr graph;  // value and gradient, (theta, rest) -> loss, gradients of those wanted, and the
                   // values called by `names`
  std::vector<std::string> names;  // empty: all of the gradient is there to be read
  Ids out;                         // the graph's outputs in the builder
};

// The public pullback, with a context. The second-order pass of a gradient that is kept appends
// its tangents alone; where names of it are, it computes all but the values of these names again.
Ids pullback(Context& context, Builder& builder, std::span<const Id> ys, std::span<const Id> y_bars,
             std::span<const Id> xs, std::span<const KeptGradient> kept = {});

// Value (optional, first) and gradient of a scalar graph: outputs d loss / d input for each input
// in `wanted`; zeros where the loss does not depend on it.
GraphPtr gradient_graph(Context& context, const Graph& loss, const Mask& wanted, bool with_value);

// The same with further outputs: the values called by `names`, those of the names given that call
// one value only (a nested gradient may hold a name twice, its tangent having it too).
struct NamedGradient {
  GraphPtr graph;
  std::vector<std::string> names;
};
NamedGradient named_gradient(Context& context, const Graph& loss, const Mask& wanted,
                             bool with_value, std::span<const std::string> names);

// Value and gradient of a grad node's loss, whose loops keep what they do where they are
// differentiated again.
GraphPtr differentiated_gradient(Context& context, const Region& region, const Mask& wanted);

// Derivatives of structural ops, in loop_derivatives.cpp and vjp_grad.cpp. `active`, `dots`: per
// input of the node; `bars`: per output, has a cotangent.
const BackwardLoop& backward_loop(Context& context, const OpDef& op, const RegionPtr& region,
                                  const Mask& active, const Mask& bars);
const TangentLoop& tangent_loop(Context& context, const OpDef& op, const RegionPtr& region,
                                const Mask& dots);
const BackwardGrad& backward_grad(Context& context, const RegionPtr& region, const Mask& active,
                                  const Mask& bars, const std::vector<std::string>& names);

// Appends the loop beside the one at `node`, which gets what it reads: its outputs. `carried`: what
// its carries or sums start from; `derivatives`: the cotangents of the outputs of the loop at
// `node`, or the tangents of its inputs.
Ids emit_derived(Builder& builder, std::int32_t node, const DerivedLoop& derived,
                 std::span<const Id> carried, std::span<const Id> derivatives);

// Appends a copy of `node` on other inputs.
Ids append_node(Builder& builder, const Node& node, std::span<const Id> in);

// The part of `graph` that computes `outputs` from `inputs`, which may be any of its values:
// nothing above them is computed.
GraphPtr cut(const Graph& graph, std::span<const Id> inputs, std::span<const Id> outputs);

// Per input of the graph: is it read by a node or returned?
Mask used_inputs(const Graph& graph);

// "label bar" says that a node belongs to the backward pass of what is called "label".
std::string derived_label(const std::string& label, std::string_view suffix);

// Restores a builder's label.
class LabelGuard {
 public:
  explicit LabelGuard(Builder& builder) : builder_(builder), label_(builder.label()) {}
  ~LabelGuard() { builder_.set_label(std::move(label_)); }
  LabelGuard(const LabelGuard&) = delete;
  LabelGuard& operator=(const LabelGuard&) = delete;

 private:
  Builder& builder_;
  std::string label_;
};

}  // namespace mixflow
