#include "transform/fuse_clusters.h"

#include <utility>

#include "graph/op.h"
#include "ops/fused_lower.h"
#include "util/index.h"

namespace mixflow {
namespace {

constexpr std::size_t kMaxInputs = 24;
constexpr std::size_t kMaxOutputs = 24;

// Reductions that a kernel can do: maxima over the last axis, sums over neighbouring axes.
bool is_fusable_reduction(const Node& node, int rank) {
  const Shape& axes = node.attrs.axes;
  if (node.op->tile == TileOp::max_reduce) return axes == Shape{rank - 1};
  return axes.back() - axes.front() + 1 == static_cast<std::int64_t>(axes.size());
}

}  // namespace

bool is_reduction(const Node& node) {
  return node.op->tile == TileOp::sum || node.op->tile == TileOp::max_reduce;
}

Clusters::Clusters(const Graph& graph)
    : graph_(graph), home_(graph.nodes.size(), -1), copies_(graph.nodes.size()) {
  classify();
  find_users();
  for (NodeIndex n = 0; n < count(); ++n) levels_.push_back(level_of_sources(n) + 1);
}

int Clusters::add(Cluster cluster) {
  levels_.push_back(0);
  clusters_.push_back(std::move(cluster));
  return size() - 1;
}

void Clusters::classify() {
  for (const Node& n : graph_.nodes) {
    const TileOp tile = n.op->tile;
    NodeKind kind = NodeKind::alone;
    bool floats = tile != TileOp::none && is_float(graph_.type(n.out[0]).dtype);
    for (const Id id : n.in)
      floats = floats && graph_.type(id).dtype == graph_.type(n.out[0]).dtype;
    if (floats) {
      const bool free = tile == TileOp::full || tile == TileOp::iota || tile == TileOp::broadcast;
      kind = free ? NodeKind::free : NodeKind::fusable;
      if (is_reduction(n) && !is_fusable_reduction(n, graph_.type(n.in[0]).rank()))
        kind = NodeKind::alone;
      // What kernels spread has no order of its own that they could reverse.
      if (tile == TileOp::reverse && (!is_fusable_reverse(graph_, n) || is_free_value(n.in[0])))
        kind = NodeKind::alone;
    }
    kinds_.push_back(kind);
  }
}

void Clusters::find_users() {
  users_.resize(graph_.values.size());
  is_output_.assign(graph_.values.size(), false);
  materialised_.assign(index(count()), false);
  for (const Id id : graph_.outputs) is_output_[index(id)] = true;
  for (NodeIndex n = count(); n-- > 0;) {
    const Node& reader = node(n);
    if (kind(n) != NodeKind::free) {
      for (const Id id : reader.in) insert_sorted(users_[index(id)], n);
      continue;
    }
    // Later nodes have been seen: all readers of n are known.
    const Id out = reader.out[0];
    bool real = is_output_[index(out)];
    for (const NodeIndex user : users_[index(out)]) real |= kind(user) != NodeKind::fusable;
    materialised_[index(n)] = real;
    for (const Id id : reader.in) {
      if (real) insert_sorted(users_[index(id)], n);
      for (const NodeIndex user : users_[index(out)]) {
        if (kind(user) == NodeKind::fusable) insert_sorted(users_[index(id)], user);
      }
    }
  }
}

void Clusters::visit_sources(NodeIndex n, std::vector<Id>& sources) const {
  for (const Id id : node(n).in) {
    if (kind(n) != NodeKind::alone && is_free_value(id)) {
      visit_sources(producer(id), sources);
    } else if (!contains(sources, id)) {
      sources.push_back(id);
    }
  }
}

template <class F>
void Clusters::for_each_source_unit(int unit, F visit) const {
  std::vector<Id> sources;
  if (unit < count()) {
    visit_sources(unit, sources);
  } else {
    for (const NodeIndex m : at(unit - count()).members) visit_sources(m, sources);
  }
  for (const Id id : sources) {
    const NodeIndex n = producer(id);
    if (n >= 0 && unit_of(n) != unit) visit(unit_of(n));
  }
}

int Clusters::level_of_sources(int unit) const {
  int level = -1;
  for_each_source_unit(unit, [&](int source) { level = std::max(level, levels_[index(source)]); });
  return level;
}

void Clusters::settle(int c) {
  const int unit = unit_of_cluster(c);
  levels_[index(unit)] = level_of_sources(unit) + 1;
  raise_readers(unit);
}

void Clusters::raise_readers(int unit) {
  std::vector<int> pending = {unit};
  const auto raise = [&](NodeIndex n, int level) {
    for (const Id id : node(n).out) {
      for (const NodeIndex user : users(id)) {
        const int reader = unit_of(user);
        if (reader == unit_of(n) || levels_[index(reader)] > level) continue;
        levels_[index(reader)] = level + 1;
        pending.push_back(reader);
      }
    }
  };
  while (!pending.empty()) {
    const int raised = pending.back();
    pending.pop_back();
    const int level = levels_[index(raised)];
    if (raised < count()) {
      raise(raised, level);
    } else {
      for (const NodeIndex m : at(raised - count()).members) raise(m, level);
    }
  }
}

// Whether one of `units` needs `target`, itself included.
bool Clusters::reaches(std::vector<int> units, int target) {
  ++stamp_;
  seen_.resize(index(count()) + clusters_.size(), 0);
  while (!units.empty()) {
    const int unit = units.back();
    units.pop_back();
    ++searched_;
    if (unit == target) return true;
    if (levels_[index(unit)] <= levels_[index(target)]) continue;
    if (seen_[index(unit)] == stamp_) continue;
    seen_[index(unit)] = stamp_;
    for_each_source_unit(unit, [&](int source) { units.push_back(source); });
  }
  return false;
}

bool Clusters::closes_cycle(int from, int to) {
  std::vector<int> others;
  for_each_source_unit(from, [&](int source) {
    if (source != to) others.push_back(source);
  });
  return reaches(std::move(others), to);
}

Nodes Clusters::producers_of(int c) const {
  Nodes producers;
  for (const NodeIndex m : at(c).members) {
    std::vector<Id> sources;
    visit_sources(m, sources);
    for (const Id id : sources) {
      const NodeIndex n = producer(id);
      if (n >= 0 && home(n) >= 0 && home(n) != c) insert_sorted(producers, home(n));
    }
  }
  return producers;
}

FuseGroup Clusters::group_of(const Nodes& members, int own) const {
  FuseGroup group{.nodes = members, .inputs = {}, .outputs = {}};
  Nodes pending = members;
  while (!pending.empty()) {
    const NodeIndex n = pending.back();
    pending.pop_back();
    for (const Id id : node(n).in) {
      if (!is_free_value(id) || std::ranges::binary_search(group.nodes, producer(id))) continue;
      insert_sorted(group.nodes, producer(id));
      pending.push_back(producer(id));
    }
  }
  for (const NodeIndex n : group.nodes) {
    for (const Id id : node(n).in) {
      const bool inside =
          producer(id) >= 0 && std::ranges::binary_search(group.nodes, producer(id));
      if (!inside && !contains(group.inputs, id)) group.inputs.push_back(id);
    }
  }
  for (const NodeIndex n : members) {
    const bool copy = home(n) >= 0 && home(n) != own && own >= 0;
    if (!copy && is_read_outside(n, members)) group.outputs.push_back(node(n).out[0]);
  }
  return group;
}

bool Clusters::is_read_outside(NodeIndex n, const Nodes& members) const {
  const Id id = node(n).out[0];
  if (is_output(id)) return true;
  const auto lacks = [&](int c) { return !std::ranges::binary_search(at(c).members, n); };
  return std::ranges::any_of(users(id), [&](NodeIndex user) {
    if (home(user) < 0) return true;
    const Nodes& others = copies(user);
    if (std::ranges::any_of(others, lacks)) return true;
    const bool only_here = others.empty() && std::ranges::binary_search(members, user);
    return !only_here && lacks(home(user));
  });
}

bool Clusters::fits(const Nodes& members, int own) const {
  const FuseGroup group = group_of(members, own);
  if (members.size() > kMaxInstrs || group.inputs.size() > kMaxInputs ||
      group.outputs.size() > kMaxOutputs) {
    return false;
  }
  const DType dtype = graph_.type(node(members[0]).out[0]).dtype;
  for (const NodeIndex n : members) {
    if (graph_.type(node(n).out[0]).dtype != dtype) return false;
  }
  return fused_spec(graph_, group.nodes, group.inputs, group.outputs).has_value();
}

}  // namespace mixflow
