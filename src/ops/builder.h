// Builds a graph node by node: types are inferred and checked, equal nodes are shared
// (hash-consing, which is CSE within one body and never across bodies), and trivial algebra is
// simplified away at once. The functions below are the vocabulary that models, optimisers and
// derivative rules are written in.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "graph/graph.h"
#include "graph/infer_region.h"
#include "graph/op.h"

namespace mixflow {

using Ids = std::vector<Id>;

class Builder {
 public:
  Builder() = default;
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;

  // --- building blocks --------------------------------------------------------------------------
  Id input(Type type, std::string name = {});
  // Appends a primitive, or returns an equal or a simpler value (simplify_rules.h). Throws
  // InternalError where the shape rule says no.
  Id emit(const OpDef& op, std::span<const Id> in, Attrs attrs = {});
  Id emit(const OpDef& op, std::initializer_list<Id> in, Attrs attrs = {}) {
    return emit(op, std::span<const Id>(in.begin(), in.size()), std::move(attrs));
  }
  // Appends a structural op and returns its outputs; shared only with one of the same region.
  Ids emit_region(const OpDef& op, std::span<const Id> in, std::shared_ptr<const Region> region);
  // Gives the scan or map at `node` a new region whose body has more ys (outputs appended at the
  // end) and returns the ids of the new outputs. The old outputs keep their ids. Used by vjp to
  // save residuals.
  Ids extend_loop(std::int32_t node, std::shared_ptr<const Region> region);
  // Readers of from[i] read to[i] instead, which is of the same type and above all of them.
  void replace(std::span<const Id> from, std::span<const Id> to);
  // Appends all of `graph` with its inputs bound to `args`; returns the ids of its outputs.
  Ids inline_graph(const Graph& graph, std::span<const Id> args);
  // Ends the build. Nodes that the outputs do not need are dropped; all inputs stay, in order.
  GraphPtr finish(Ids outputs);

  // References and pointers into the graph (types, shapes, attributes, nodes) are valid until the
  // next append only: copy what is needed for longer. Ids stay valid.
  const Graph& graph() const { return graph_; }
  const Type& type(Id id) const { return graph_.type(id); }
  const Shape& shape(Id id) const { return graph_.type(id).shape; }
  DType dtype(Id id) const { return graph_.type(id).dtype; }
  bool is_full(Id id, double value) const;  // a `full` of that value

  // Nodes appended while a scope is open carry its path as their label.
  class Scope {
   public:
    Scope(Builder& builder, std::string_view name);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Builder& builder_;
    std::size_t length_;
  };
  void set_label(const std::string& label) { label_ = label; }
  const std::string& label() const { return label_; }

  // --- constants --------------------------------------------------------------------------------
  Id full(double value, DType dtype, Shape shape = {});
  Id full_like(Id x, double value) { return full(value, dtype(x), shape(x)); }
  Id zeros_like(Id x) { return full_like(x, 0); }
  Id iota(DType dtype, Shape shape, int axis);  // position along `axis`

  // --- elementwise ------------------------------------------------------------------------------
  // Binary ops broadcast their operands to a common shape, aligned at the last axis. Constants are
  // doubles (`mul(x, 2.0)`): an integer would be taken for an Id.
  Id neg(Id x);
  Id exp(Id x);
  Id log(Id x);
  Id sqrt(Id x);
  Id rsqrt(Id x);
  Id reciprocal(Id x);
  Id square(Id x);
  Id tanh(Id x);
  Id sigmoid(Id x);
  Id softplus(Id x);  // log(1 + e^x)
  Id sin(Id x);
  Id cos(Id x);
  Id abs(Id x);
  Id sign(Id x);
  Id relu(Id x);
  Id step(Id x);  // 1 where x > 0, else 0
  Id add(Id a, Id b);
  Id sub(Id a, Id b);
  Id mul(Id a, Id b);
  Id div(Id a, Id b);
  Id max(Id a, Id b);
  Id min(Id a, Id b);
  Id pow(Id a, Id b);   // a > 0
  Id less(Id a, Id b);  // 1 where a < b, else 0, in a's type
  Id equal(Id a, Id b);
  Id select(Id mask, Id a, Id b);  // a where mask != 0, else b
  Id add(Id a, double b) { return add(a, full(b, dtype(a))); }
  Id mul(Id a, double b) { return mul(a, full(b, dtype(a))); }
  Id sub(double a, Id b) { return sub(full(a, dtype(b)), b); }
  Id convert(Id x, DType dtype);
  Id stop_gradient(Id x);
  Id named(Id x, std::string name);            // x, under a name that policies can keep
  Id named_cotangent(Id x, std::string name);  // x, whose cotangent has that name

  // --- shapes -----------------------------------------------------------------------------------
  Id reshape(Id x, Shape shape);
  Id transpose(Id x, Shape permutation);  // result axis i is x's axis permutation[i]
  // New axes of the result at positions `axes` (ascending); result shape `shape`.
  Id broadcast(Id x, Shape axes, Shape shape);
  Id broadcast_to(Id x, Shape shape);  // aligned at the last axis, as NumPy does
  Id sum(Id x, Shape axes);            // axes are removed
  Id sum_all(Id x);
  Id mean(Id x, Shape axes);
  Id mean_all(Id x);
  Id max_reduce(Id x, Shape axes);  // not differentiated: for shifts that cancel
  Id logsumexp(Id x);               // over the last axis, which is removed
  Id slice(Id x, Shape starts, Shape limits);
  Id pad(Id x, Shape starts, Shape shape);  // zeros around x: the transpose of slice
  Id concat(std::span<const Id> xs, int axis);
  Id reverse(Id x, Shape axes);

  // --- products and indices ---------------------------------------------------------------------
  // [.., M, K] x [.., K, N] -> [.., M, N], equal leading axes; with trans_a a is [.., K, M], with
  // trans_b b is [.., N, K].
  Id dot(Id a, Id b, bool trans_a = false, bool trans_b = false);
  Id one_hot(Id index, std::int64_t depth, DType dtype);    // i32 [..] -> [.., depth]
  Id gather(Id table, Id index);                            // [V, ..], i32 [I..] -> [I.., ..]
  Id scatter_add(Id updates, Id index, std::int64_t rows);  // transpose of gather

  // --- structural -------------------------------------------------------------------------------
  struct Loop {
    Ids carry;  // scan: final carries; map: sums
    Ids ys;
  };
  Loop scan(GraphPtr body, std::span<const Id> consts, std::span<const Id> carry,
            std::span<const Id> xs, std::int64_t n, bool reverse = false, Policy policy = {});
  // body: (consts, x) -> (s.., y..), the first `sums` outputs being summed over iterations, from 0.
  // Its backward pass recomputes the body, unless the policy says otherwise.
  Loop map(GraphPtr body, std::span<const Id> consts, std::span<const Id> xs, std::int64_t n,
           int sums, Policy policy = {Policy::Keep::carries, {}});
  struct Grad {
    Id loss;
    Ids grads;
  };
  // loss: (theta.., rest..) -> scalar. Symbolic until lower_grad: its derivative can be chosen.
  Grad grad(GraphPtr loss, std::span<const Id> theta, std::span<const Id> rest, GradMode mode);

 private:
  // The outputs of an equal node, or of a new one with outputs of these types.
  const Ids& append(const OpDef& op, std::span<const Id> in, Attrs attrs, std::vector<Type> types);
  Id binary(const OpDef& op, Id a, Id b);
  std::pair<Id, Id> common(Id a, Id b);

  Graph graph_;
  std::unordered_multimap<std::size_t, std::int32_t> known_;  // hash of a node -> its index
  std::string label_;
};

}  // namespace mixflow
