// The core of the builder: appending, sharing, inlining, finishing. The vocabulary is in
// builder_ops.cpp, the algebra in simplify_rules.cpp.
#include "ops/builder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <numeric>

#include "ops/op_list.h"
#include "ops/simplify_rules.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

class Hash {
 public:
  void add(std::uint64_t x) { value_ = (value_ ^ x) * 0x9E3779B97F4A7C15u + (value_ >> 29); }
  template <class T>
  void add(std::span<const T> list) {
    add(list.size());
    for (T x : list) add(static_cast<std::uint64_t>(x));
  }
  void add(const Shape& list) { add(std::span<const std::int64_t>(list)); }
  std::size_t value() const { return value_; }

 private:
  std::size_t value_ = 0;
};

// A name is no other value: who reads a value is served by a node that reads its name. Not the
// other way round, or nobody would read the name, and it would be gone.
Id unnamed(const Graph& graph, Id id) {
  const Node* node = graph.producer(id);
  while (node != nullptr && node->op == &op::k_named) {
    id = node->in[0];
    node = graph.producer(id);
  }
  return id;
}

std::size_t hash_node(const Graph& graph, const OpDef* op, std::span<const Id> in,
                      const Attrs& attrs) {
  Hash hash;
  hash.add(std::bit_cast<std::uintptr_t>(op));
  hash.add(in.size());
  for (const Id id : in) hash.add(static_cast<std::uint64_t>(unnamed(graph, id)));
  hash.add(attrs.shape);
  hash.add(attrs.axes);
  hash.add(attrs.starts);
  // + 0.0: the two zeros are equal, so they must have one hash.
  hash.add(std::bit_cast<std::uint64_t>(attrs.value + 0.0));
  hash.add(static_cast<std::uint64_t>(attrs.dtype));
  hash.add((attrs.trans_a ? 1u : 0u) + (attrs.trans_b ? 2u : 0u));
  hash.add(std::hash<std::string>{}(attrs.name));
  hash.add(std::bit_cast<std::uintptr_t>(attrs.region.get()));
  return hash.value();
}

bool is_commutative(const OpDef& op) {
  return &op == &op::k_add || &op == &op::k_mul || &op == &op::k_max || &op == &op::k_min ||
         &op == &op::k_equal;
}

std::string join(const std::string& path, std::string_view name) {
  if (path.empty()) return std::string(name);
  return name.empty() ? path : path + "/" + std::string(name);
}

}  // namespace

Builder::Scope::Scope(Builder& builder, std::string_view name)
    : builder_(builder), length_(builder.label_.size()) {
  builder_.label_ = join(builder_.label_, name);
}

Builder::Scope::~Scope() { builder_.label_.resize(std::min(length_, builder_.label_.size())); }

Id Builder::input(Type type, std::string name) {
  num_elements(type.shape, name);  // or it is too large
  const Id id = static_cast<Id>(graph_.values.size());
  const auto position = static_cast<std::int32_t>(graph_.inputs.size());
  graph_.values.push_back({std::move(type), -1, position, std::move(name)});
  graph_.inputs.push_back(id);
  return id;
}

const Ids& Builder::append(const OpDef& op, std::span<const Id> in, Attrs attrs,
                           std::vector<Type> types) {
  const std::size_t hash = hash_node(graph_, &op, in, attrs);
  const auto [first, last] = known_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    const Node& node = graph_.nodes[index(it->second)];
    const auto same = [&](Id known, Id now) {
      return known == now || unnamed(graph_, known) == now;
    };
    if (node.op == &op && std::ranges::equal(node.in, in, same) && node.attrs == attrs)
      return node.out;
  }
  const auto position = static_cast<std::int32_t>(graph_.nodes.size());
  Node node{&op, Ids(in.begin(), in.end()), {}, std::move(attrs), label_};
  node.out.reserve(types.size());
  for (std::size_t i = 0; i < types.size(); ++i) {
    num_elements(types[i].shape, label_);  // or it is too large
    node.out.push_back(static_cast<Id>(graph_.values.size()));
    graph_.values.push_back({std::move(types[i]), position, static_cast<std::int32_t>(i), {}});
  }
  graph_.nodes.push_back(std::move(node));
  known_.emplace(hash, position);
  return graph_.nodes.back().out;
}

Id Builder::emit(const OpDef& op, std::span<const Id> in, Attrs attrs) {
  MIXFLOW_CHECK(op.infer != nullptr, std::string(op.name) + " is not a primitive");
  MIXFLOW_CHECK(op.arity < 0 || index(op.arity) == in.size(),
                "[" + std::string(op.name) + "] got " + std::to_string(in.size()) + " inputs");
  std::vector<Type> types;
  types.reserve(in.size());
  for (Id id : in) {
    MIXFLOW_CHECK(id >= 0 && index(id) < graph_.values.size(),
                  "[" + std::string(op.name) + "] input %" + std::to_string(id) + " is not here");
    types.push_back(type(id));
  }
  Type result = op.infer(types, attrs);
  const Id simple = simplify_call(*this, op, in, attrs, result);
  if (simple != kNone) return simple;
  types.clear();
  types.push_back(std::move(result));
  if (is_commutative(op) && unnamed(graph_, in[1]) < unnamed(graph_, in[0])) {
    const std::array<Id, 2> swapped = {in[1], in[0]};
    return append(op, swapped, std::move(attrs), std::move(types))[0];
  }
  return append(op, in, std::move(attrs), std::move(types))[0];
}

Ids Builder::emit_region(const OpDef& op, std::span<const Id> in,
                         std::shared_ptr<const Region> region) {
  MIXFLOW_CHECK(has_deriv<Structural>(op) && region != nullptr,
                std::string(op.name) + " takes no region");
  std::vector<Type> types;
  types.reserve(in.size());
  for (Id id : in) {
    MIXFLOW_CHECK(id >= 0 && index(id) < graph_.values.size(),
                  "[" + std::string(op.name) + "] input %" + std::to_string(id) + " is not here");
    types.push_back(type(id));
  }
  std::vector<Type> results = infer_region(op.name, types, *region);
  Attrs attrs;
  attrs.region = std::move(region);
  return append(op, in, std::move(attrs), std::move(results));
}

Ids Builder::extend_loop(std::int32_t node, std::shared_ptr<const Region> region) {
  Node& loop = graph_.nodes[index(node)];
  MIXFLOW_CHECK((loop.op == &op::k_scan || loop.op == &op::k_map) && region != nullptr,
                "only loops can be extended");
  std::vector<Type> types;
  for (Id id : loop.in) types.push_back(type(id));
  const std::vector<Type> results = infer_region(loop.op->name, types, *region);
  MIXFLOW_CHECK(results.size() >= loop.out.size(), "an extended loop keeps its outputs");
  for (std::size_t i = 0; i < loop.out.size(); ++i) {
    MIXFLOW_CHECK(results[i] == type(loop.out[i]), "an extended loop keeps its outputs' types");
  }
  // Its old self must not be found any more: an equal loop to come has fewer outputs.
  const auto [first, last] = known_.equal_range(hash_node(graph_, loop.op, loop.in, loop.attrs));
  for (auto it = first; it != last; ++it) {
    if (it->second != node) continue;
    known_.erase(it);
    break;
  }
  loop.attrs.region = std::move(region);
  known_.emplace(hash_node(graph_, loop.op, loop.in, loop.attrs), node);
  Ids added;
  for (std::size_t i = loop.out.size(); i < results.size(); ++i) {
    added.push_back(static_cast<Id>(graph_.values.size()));
    graph_.values.push_back({results[i], node, static_cast<std::int32_t>(i), {}});
  }
  loop.out.insert(loop.out.end(), added.begin(), added.end());
  return added;
}

void Builder::replace(std::span<const Id> from, std::span<const Id> to) {
  if (from.empty()) return;
  Ids now(graph_.values.size());
  std::iota(now.begin(), now.end(), Id{0});
  for (std::size_t i = 0; i < from.size(); ++i) {
    MIXFLOW_CHECK(type(from[i]) == type(to[i]) &&
                      graph_.values[index(to[i])].node < graph_.values[index(from[i])].node,
                  "a value can be replaced by an equal one above it");
    now[index(from[i])] = to[i];
  }
  known_.clear();
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    Node& node = graph_.nodes[i];
    for (Id& id : node.in) id = now[index(id)];
    known_.emplace(hash_node(graph_, node.op, node.in, node.attrs), static_cast<std::int32_t>(i));
  }
}

Ids Builder::inline_graph(const Graph& graph, std::span<const Id> args) {
  MIXFLOW_CHECK(&graph != &graph_, "a graph cannot be inlined into itself");
  MIXFLOW_CHECK(args.size() == graph.inputs.size(), "inlining needs one argument per input");
  Ids map(graph.values.size(), kNone);
  for (std::size_t i = 0; i < args.size(); ++i) {
    MIXFLOW_CHECK(type(args[i]) == graph.type(graph.inputs[i]),
                  "inlining: argument " + std::to_string(i) + " is " + to_string(type(args[i])) +
                      ", expected " + to_string(graph.type(graph.inputs[i])));
    map[index(graph.inputs[i])] = args[i];
  }
  const std::string outer = label_;
  for (const Node& node : graph.nodes) {
    Ids in;
    for (Id id : node.in) in.push_back(map[index(id)]);
    label_ = join(outer, node.label);
    const Ids out = node.attrs.region ? emit_region(*node.op, in, node.attrs.region)
                                      : Ids{emit(*node.op, in, node.attrs)};
    for (std::size_t i = 0; i < node.out.size(); ++i) {
      map[index(node.out[i])] = out[i];
      Value& value = graph_.values[index(out[i])];
      const std::string& name = graph.values[index(node.out[i])].name;
      if (value.node >= 0 && value.name.empty()) value.name = name;
    }
  }
  label_ = outer;
  Ids outputs;
  for (Id id : graph.outputs) outputs.push_back(map[index(id)]);
  return outputs;
}

GraphPtr Builder::finish(Ids outputs) {
  std::vector<bool> live(graph_.values.size(), false);
  for (Id id : outputs) {
    MIXFLOW_CHECK(id >= 0 && index(id) < live.size(), "finish: an output is not in the graph");
    live[index(id)] = true;
  }
  const auto needed = [&](const Node& node) {
    return std::ranges::any_of(node.out, [&](Id id) { return live[index(id)]; });
  };
  for (std::size_t i = graph_.nodes.size(); i-- > 0;) {
    if (!needed(graph_.nodes[i])) continue;
    for (Id id : graph_.nodes[i].in) live[index(id)] = true;
  }
  auto result = std::make_shared<Graph>();
  Ids map(graph_.values.size(), kNone);
  const auto move_value = [&](Id id, std::int32_t node) {
    map[index(id)] = static_cast<Id>(result->values.size());
    result->values.push_back(std::move(graph_.values[index(id)]));
    result->values.back().node = node;
    return map[index(id)];
  };
  const auto mapped = [&](const Ids& ids) {
    Ids moved;
    for (Id id : ids) moved.push_back(map[index(id)]);
    return moved;
  };
  for (Id id : graph_.inputs) result->inputs.push_back(move_value(id, -1));
  for (Node& node : graph_.nodes) {
    if (!needed(node)) continue;
    const auto position = static_cast<std::int32_t>(result->nodes.size());
    for (Id& id : node.in) id = map[index(id)];
    for (Id& id : node.out) id = move_value(id, position);
    result->nodes.push_back(std::move(node));
  }
  result->outputs = mapped(outputs);
  graph_ = {};
  known_.clear();
  return result;
}

bool Builder::is_full(Id id, double value) const {
  const Node* node = graph_.producer(id);
  return node != nullptr && node->op == &op::k_full && node->attrs.value == value;
}

}  // namespace mixflow
