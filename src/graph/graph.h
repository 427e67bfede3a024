// The IR: a functional SSA graph with static types. A graph is closed (everything it uses is one of
// its inputs) and immutable once built; passes build a new one. Nodes are in topological order. A
// primitive has one output; the structural ops (scan, map, grad, fused) carry a body graph in
// `attrs.region` and may have several.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mixflow {

enum class DType : std::uint8_t { f32, f64, i32 };

std::int64_t dtype_bytes(DType dtype);
std::string_view dtype_name(DType dtype);
inline bool is_float(DType dtype) { return dtype != DType::i32; }

using Shape = std::vector<std::int64_t>;

// The most elements of one tensor (a pebibyte in f32): sums of bytes over a graph stay in int64.
inline constexpr std::int64_t kMostElements = std::int64_t{1} << 48;

// UserError above kMostElements, since shapes come from configs; `name` is the tensor's, for the
// message.
std::int64_t num_elements(const Shape& shape, std::string_view name = {});
std::string to_string(const Shape& shape);  // [2,3]

struct Type {
  DType dtype = DType::f32;
  Shape shape;

  std::int64_t elements() const { return num_elements(shape); }
  std::int64_t bytes() const { return elements() * dtype_bytes(dtype); }
  int rank() const { return static_cast<int>(shape.size()); }
  friend bool operator==(const Type&, const Type&) = default;
};
std::string to_string(const Type& type);  // f32[2,3]

// Index of a value in its graph. Values of different graphs are unrelated.
using Id = std::int32_t;
inline constexpr Id kNone = -1;

struct OpDef;
class Graph;
using GraphPtr = std::shared_ptr<const Graph>;

// What a loop keeps for the loop of its cotangents or tangents; everything else is
// recomputed from the loop's constants, its inputs of that iteration and the carries at the
// iteration's start.
struct Policy {
  enum class Keep : std::uint8_t {
    carries,  // nothing but the carries at each iteration's start
    names,    // carries, and the values that a `named` node calls by one of `names`
    dots,     // products, lookups and results of loops that the backward pass reads, or that what
              // it reads is recomputed from
    all,      // every forward value that the backward pass reads
  };
  Keep keep = Keep::all;
  std::vector<std::string> names;
  // In a gradient that mixed mode differentiates again, instead of `keep`.
  std::optional<Keep> differentiated;
  friend bool operator==(const Policy&, const Policy&) = default;
};

// How the derivative of a `grad` node is formed (design: mode). `reverse` is not in this list: for
// it the grad nodes are lowered to vjp graphs before the outer vjp runs.
enum class GradMode : std::uint8_t {
  mixed,        // forward over reverse: one jvp of (grad_theta, grad_eta) along (c_g, 0)
  first_order,  // the gradient is a constant of the outer problem
};

// The body of a structural op, and how its inputs and outputs are grouped.
//   scan   inputs: consts | carry | xs          outputs: carry | ys
//          body: (consts, carry, x) -> (carry', y)
//          x is xs[i], y becomes ys[i]; i runs 0..n-1, or n-1..0 when `reverse`.
//   map    inputs: consts | sum inits | xs      outputs: sums | ys
//          body: (consts, x) -> (s, y)
//          sums = init + s[0] + s[1] + ... ; `num_carry` counts the sums.
//   grad   inputs: theta | rest                 outputs: loss | d loss/d theta
//          body: (theta, rest) -> scalar loss
//          `num_carry` counts theta, `num_xs` the rest.
//   fused  inputs = body inputs, outputs = body outputs; made by the fuse pass only.
struct Region {
  GraphPtr body;
  std::int64_t n = 1;
  int num_consts = 0;
  int num_carry = 0;
  int num_xs = 0;
  bool reverse = false;
  bool parallel = false;  // scan made of a map: each carry is only ever `carry + something`
  Policy policy;
  GradMode grad_mode = GradMode::mixed;
};

// Static attributes of a node. Each op says in its definition which it reads.
struct Attrs {
  Shape shape;               // the result's shape (reshape, broadcast, full, iota, ...)
  Shape axes;                // axes reduced, added or permuted; limits of a slice: see the op
  Shape starts;              // slice, pad
  double value = 0;          // full, and ops with one scalar parameter
  DType dtype = DType::f32;  // full, iota, convert, one_hot: the result's type
  bool trans_a = false;      // dot: a is [.., K, M]
  bool trans_b = false;      // dot: b is [.., N, K]
  std::string name;          // named
  std::shared_ptr<const Region> region;  // structural ops; compared by pointer

  friend bool operator==(const Attrs&, const Attrs&) = default;
};

struct Node {
  const OpDef* op = nullptr;
  std::vector<Id> in;
  std::vector<Id> out;
  Attrs attrs;
  std::string label;  // where it comes from ("inner loss/layers.0"), for dumps and `plan --explain`
};

struct Value {
  Type type;
  std::int32_t node = -1;  // index of the producing node; -1: a graph input
  std::int32_t index = 0;  // which of the node's outputs, or which graph input
  std::string name;        // inputs: the tensor's name; others: may be empty
};

class Graph {
 public:
  std::vector<Value> values;
  std::vector<Node> nodes;
  std::vector<Id> inputs;
  std::vector<Id> outputs;  // may repeat values and may be inputs

  const Type& type(Id id) const { return values[static_cast<std::size_t>(id)].type; }
  // The node that makes `id`, or null for an input.
  const Node* producer(Id id) const;
};

// Number of nodes, bodies included.
std::int64_t count_nodes(const Graph& graph);
// Number of nodes of one op, bodies included.
std::int64_t count_ops(const Graph& graph, const OpDef& op);

// Bodies of a node's region, or null.
inline const Region* region_of(const Node& node) { return node.attrs.region.get(); }

}  // namespace mixflow
