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

// Where an input of a backward loop comes from.
struct Source {
  enum class Kind : std::uint8_t {
    input,   // of the forward node
    output,  // of the forward node, once extended
    bar,     // the cotangent of an output of the forward node
  };
  Kind kind;
  int index;
};

// The backward pass of a scan or map. Inputs of `backward`: what `consts` says | the cotangent of
// each carry in `carries`, a sum for each input in `sums` | what `xs` says. Its outputs are the
// cotangents of those carries, of those inputs, and, as stacks, of the inputs in `ys`.
struct BackwardRegion {
  RegionPtr forward;   // the loop extended by what the backward pass reads; null: as it was
  RegionPtr backward;  // null: nothing to do
  std::vector<Source> consts, xs;
  std::vector<int> carries;
  std::vector<int> sums, ys;  // inputs of the forward node
};

// The backward pass of a grad node, to be inlined.
struct BackwardGrad {
  struct Output {
    int input;  // of the grad node: this is a part of its cotangent
    bool loss;  // d loss / d input, still to be scaled by the loss's cotangent
  };
  GraphPtr graph;  // inputs: theta, rest, then if second_order the cotangents of the grads that
                   // have one; null: nothing to do
  std::vector<Output> out;
  bool second_order = false;
};

// Memory of one transform call. A region is transformed once per set of masks, so equal loops stay
// equal and the work is linear in what is there.
struct Context {
  Reach reach;
  std::map<std::pair<RegionPtr, Mask>, JvpRegion> jvp_regions;
  std::map<std::tuple<RegionPtr, Mask, Mask>, BackwardRegion> backward_regions;
  std::map<std::tuple<RegionPtr, Mask, Mask>, BackwardGrad> backward_grads;
};

// How many inputs and outputs there are in each group; tangents follow the primals of their group.
struct Groups {
  std::vector<int> in, out;
};

// jvp of a graph or body. Outputs in `forced` get a tangent even if it is zero; empty: none.
JvpResult jvp_graph(Context& context, const Graph& graph, const Mask& nonzero, const Mask& forced,
                    const Groups& groups);

// The public pullback, with a context.
Ids pullback(Context& context, Builder& builder, std::span<const Id> ys, std::span<const Id> y_bars,
             std::span<const Id> xs);

// Value (optional, first) and gradient of a scalar graph: outputs d loss / d input for each input
// in `wanted`; zeros where the loss does not depend on it.
GraphPtr gradient_graph(Context& context, const Graph& loss, const Mask& wanted, bool with_value);

// The backward passes of structural ops, in vjp_loops.cpp and vjp_grad.cpp. `active`: per input of
// the node; `bars`: per output, has a cotangent.
const BackwardRegion& backward_scan(Context& context, const RegionPtr& region, const Mask& active,
                                    const Mask& bars);
const BackwardRegion& backward_map(Context& context, const RegionPtr& region, const Mask& active,
                                   const Mask& bars);
const BackwardGrad& backward_grad(Context& context, const RegionPtr& region, const Mask& active,
                                  const Mask& bars);

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
