#include "transform/fuse_group.h"

#include <algorithm>
#include <optional>
#include <queue>
#include <utility>

#include "graph/op.h"
#include "ops/fused_lower.h"
#include "util/error.h"

namespace mixflow {
namespace {

using NodeIndex = std::int32_t;
using Nodes = std::vector<NodeIndex>;

constexpr std::size_t kMaxInstrs = 64;
constexpr std::size_t kMaxInputs = 24;
constexpr std::size_t kMaxOutputs = 24;
constexpr int kMaxRounds = 8;
constexpr int kAnyCluster = -1;
constexpr std::int64_t kSmallBytes = 16 * 1024;  // below, fewer kernels count for more than bytes

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

bool is_reduction(const Node& node) {
  return node.op->tile == TileOp::sum || node.op->tile == TileOp::max_reduce;
}

// Reductions that a kernel can do: maxima over the last axis, sums over neighbouring axes.
bool is_fusable_reduction(const Node& node, int rank) {
  const Shape& axes = node.attrs.axes;
  if (node.op->tile == TileOp::max_reduce) return axes == Shape{rank - 1};
  return axes.back() - axes.front() + 1 == static_cast<std::int64_t>(axes.size());
}

bool is_cheap(const Node& node) {
  switch (node.op->tile) {
    case TileOp::neg:
    case TileOp::abs:
    case TileOp::sign:
    case TileOp::relu:
    case TileOp::step:
    case TileOp::square:
    case TileOp::add:
    case TileOp::sub:
    case TileOp::mul:
    case TileOp::less:
    case TileOp::equal:
    case TileOp::max:
    case TileOp::min:
    case TileOp::select:
      return true;
    default:
      return false;
  }
}

void insert_sorted(Nodes& nodes, NodeIndex n) {
  const auto at = std::ranges::lower_bound(nodes, n);
  if (at == nodes.end() || *at != n) nodes.insert(at, n);
}

template <class T>
bool contains(const std::vector<T>& list, const T& x) {
  return std::ranges::find(list, x) != list.end();
}

class Grouping {
 public:
  explicit Grouping(const Graph& graph)
      : graph_(graph), cluster_of_(graph.nodes.size(), -1), copies_(graph.nodes.size()) {
    classify();
    find_users();
  }

  FusePlan plan() {
    for (NodeIndex n = 0; n < count(); ++n) {
      if (kinds_[index(n)] == NodeKind::fusable) place(n);
    }
    for (int round = 0; round < kMaxRounds && merge_all(); ++round) {
    }
    recompute_chains();
    recompute_cheap();
    dissolve_lone_reductions();
    return finish();
  }

 private:
  enum class NodeKind : std::uint8_t { alone, fusable, free };

  struct Cluster {
    Nodes members;         // fusable nodes
    NodeIndex ready = -1;  // the last node outside that it waits for, so far as known
    bool alive = true;
  };

  NodeIndex count() const { return static_cast<NodeIndex>(graph_.nodes.size()); }
  const Node& node(NodeIndex n) const { return graph_.nodes[index(n)]; }
  NodeIndex producer(Id id) const { return graph_.values[index(id)].node; }
  NodeKind kind(NodeIndex n) const { return kinds_[index(n)]; }

  // --- the graph as fusion sees it

  void classify() {
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
      }
      kinds_.push_back(kind);
    }
  }

  // Readers of each value; those that read it through free nodes count, free nodes themselves only
  // if they have to be materialised for a reader that is not fused.
  void find_users() {
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

  bool is_free_value(Id id) const {
    return producer(id) >= 0 && kind(producer(id)) == NodeKind::free;
  }

  // What a node waits for: values that are not free, seen through free nodes if it is fusable.
  void visit_sources(NodeIndex n, std::vector<Id>& sources) const {
    for (const Id id : node(n).in) {
      if (kind(n) != NodeKind::alone && is_free_value(id)) {
        visit_sources(producer(id), sources);
      } else if (!contains(sources, id)) {
        sources.push_back(id);
      }
    }
  }

  // --- units: clusters, and nodes that are in none

  int cluster_of(NodeIndex n) const { return cluster_of_[index(n)]; }
  int unit_of(NodeIndex n) const { return cluster_of(n) >= 0 ? count() + cluster_of(n) : n; }

  template <class F>
  void for_each_source_unit(int unit, F visit) const {
    std::vector<Id> sources;
    if (unit < count()) {
      visit_sources(unit, sources);
    } else {
      for (const NodeIndex m : clusters_[index(unit - count())].members) visit_sources(m, sources);
    }
    for (const Id id : sources) {
      const NodeIndex n = producer(id);
      if (n >= 0 && unit_of(n) != unit) visit(unit_of(n));
    }
  }

  // Whether one of `units` needs `target`, itself included.
  bool reaches(std::vector<int> units, int target) {
    ++stamp_;
    seen_.resize(index(count()) + clusters_.size(), 0);
    while (!units.empty()) {
      const int unit = units.back();
      units.pop_back();
      if (unit == target) return true;
      if (seen_[index(unit)] == stamp_) continue;
      seen_[index(unit)] = stamp_;
      for_each_source_unit(unit, [&](int source) { units.push_back(source); });
    }
    return false;
  }

  // A path from `to` through something else to `from` or back would close a cycle once they are
  // one.
  bool closes_cycle(int from, int to) {
    std::vector<int> others;
    for_each_source_unit(from, [&](int source) {
      if (source != to) others.push_back(source);
    });
    return reaches(std::move(others), to);
  }

  NodeIndex time_of(Id id) const {
    const NodeIndex n = producer(id);
    if (n < 0) return -1;
    return cluster_of(n) >= 0 ? clusters_[index(cluster_of(n))].ready : n;
  }

  // --- groups

  // The members with the free nodes that they absorb, and what goes in and out. Those that belong
  // to another cluster than `own` are copies and give out nothing.
  FuseGroup group_of(const Nodes& members, int own) const {
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
      const bool copy = cluster_of(n) >= 0 && cluster_of(n) != own && own >= 0;
      if (!copy && is_read_outside(n, members)) group.outputs.push_back(node(n).out[0]);
    }
    return group;
  }

  // A node may be in several clusters; only its first, cluster_of, hands its value to others.
  bool is_read_outside(NodeIndex n, const Nodes& members) const {
    const Id id = node(n).out[0];
    if (is_output_[index(id)]) return true;
    const auto lacks = [&](int c) {
      return !std::ranges::binary_search(clusters_[index(c)].members, n);
    };
    return std::ranges::any_of(users_[index(id)], [&](NodeIndex user) {
      if (cluster_of(user) < 0) return true;
      const Nodes& copies = copies_[index(user)];
      if (std::ranges::any_of(copies, lacks)) return true;
      const bool only_here = copies.empty() && std::ranges::binary_search(members, user);
      return !only_here && lacks(cluster_of(user));
    });
  }

  bool fits(const Nodes& members, int own) const {
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

  // --- growing

  void place(NodeIndex n) {
    std::vector<Id> sources;
    visit_sources(n, sources);
    Nodes candidates;
    NodeIndex ready = -1;
    for (const Id id : sources) {
      ready = std::max(ready, time_of(id));
      const int c = producer(id) >= 0 ? cluster_of(producer(id)) : -1;
      if (c >= 0) insert_sorted(candidates, c);
    }
    for (auto it = candidates.rbegin(); it != candidates.rend(); ++it) {
      Cluster& cluster = clusters_[index(*it)];
      if (ready > cluster.ready && !may_wait(cluster.members, {n})) continue;
      if (closes_cycle(n, count() + *it)) continue;
      Nodes members = cluster.members;
      insert_sorted(members, n);
      if (!fits(members, kAnyCluster)) continue;
      cluster.members = std::move(members);
      cluster.ready = std::max(cluster.ready, ready);
      cluster_of_[index(n)] = *it;
      return;
    }
    cluster_of_[index(n)] = static_cast<int>(clusters_.size());
    clusters_.push_back({{n}, ready, true});
  }

  // Whether `early` may be computed as late as `late`: nobody else wants its results, and they are
  // no fewer than the large inputs that are kept in their place.
  bool may_wait(const Nodes& early, const Nodes& late) const {
    std::int64_t results = 0, inputs = 0;
    const auto in_late = [&](NodeIndex user) { return std::ranges::binary_search(late, user); };
    const auto in_early = [&](NodeIndex user) { return std::ranges::binary_search(early, user); };
    for (const NodeIndex n : early) {
      const Id id = node(n).out[0];
      if (is_output_[index(id)]) return false;
      bool read = false;
      for (const NodeIndex user : users_[index(id)]) {
        if (!in_early(user) && !in_late(user)) return false;
        read |= in_late(user);
      }
      if (read) results += graph_.type(id).bytes();
    }
    for (const Id id : group_of(early, kAnyCluster).inputs) {
      const bool ends = producer(id) >= 0 && std::ranges::all_of(users_[index(id)], in_early);
      if (ends) inputs += graph_.type(id).bytes();
    }
    return inputs <= std::max(results, kSmallBytes);
  }

  // --- merging

  bool merge_all() {
    bool merged = false;
    for (int c = 0; c < static_cast<int>(clusters_.size()); ++c) {
      while (clusters_[index(c)].alive && merge_one(c)) merged = true;
    }
    return merged;
  }

  bool merge_one(int c) {
    Nodes siblings;
    for (const NodeIndex m : clusters_[index(c)].members) {
      std::vector<Id> sources;
      visit_sources(m, sources);
      for (const Id id : sources) {
        if (graph_.type(id).rank() == 0) continue;
        for (const NodeIndex user : users_[index(id)]) {
          if (cluster_of(user) >= 0 && cluster_of(user) != c)
            insert_sorted(siblings, cluster_of(user));
        }
      }
    }
    for (const int p : producers_of(c)) {
      const bool waits = clusters_[index(c)].ready > clusters_[index(p)].ready;
      if (waits && !may_wait(clusters_[index(p)].members, clusters_[index(c)].members)) continue;
      if (try_merge(p, c)) return true;
    }
    for (const int s : siblings) {
      if (clusters_[index(s)].ready == clusters_[index(c)].ready && try_merge(s, c)) return true;
    }
    return false;
  }

  bool try_merge(int a, int b) {
    Nodes members = clusters_[index(a)].members;
    if (members.size() + clusters_[index(b)].members.size() > kMaxInstrs) return false;
    for (const NodeIndex n : clusters_[index(b)].members) insert_sorted(members, n);
    if (closes_cycle(count() + a, count() + b) || closes_cycle(count() + b, count() + a))
      return false;
    if (!fits(members, kAnyCluster)) return false;
    for (const NodeIndex n : clusters_[index(a)].members) cluster_of_[index(n)] = b;
    clusters_[index(b)].ready = std::max(clusters_[index(a)].ready, clusters_[index(b)].ready);
    clusters_[index(b)].members = std::move(members);
    clusters_[index(a)] = {{}, -1, false};
    return true;
  }

  // --- recomputation

  // Values that a later cluster alone reads are computed there instead of being stored until then,
  // where what they are made of takes less memory: a few polynomials and exponentials cost less
  // than a store and a load.
  void recompute_chains() {
    for (int reader = static_cast<int>(clusters_.size()); reader-- > 0;) {
      for (bool again = true; again && clusters_[index(reader)].alive;) {
        again = std::ranges::any_of(producers_of(reader),
                                    [&](int home) { return recompute_chain(home, reader); });
      }
    }
  }

  Nodes producers_of(int c) const {
    Nodes producers;
    for (const NodeIndex m : clusters_[index(c)].members) {
      std::vector<Id> sources;
      visit_sources(m, sources);
      for (const Id id : sources) {
        const NodeIndex n = producer(id);
        if (n >= 0 && cluster_of(n) >= 0 && cluster_of(n) != c)
          insert_sorted(producers, cluster_of(n));
      }
    }
    return producers;
  }

  // Whether `id`, made in cluster `home`, is read in cluster `reader` and nowhere else but at home.
  bool is_read_only_by(Id id, int home, int reader) const {
    if (is_output_[index(id)]) return false;
    bool read = false;
    for (const NodeIndex user : users_[index(id)]) {
      Nodes places = copies_[index(user)];
      places.push_back(cluster_of(user));
      for (const int c : places) {
        if (c != home && c != reader) return false;
        read |= c == reader;
      }
    }
    return read;
  }

  bool recompute_chain(int home, int reader) {
    const Nodes& there = clusters_[index(reader)].members;
    const auto is_chain = [&](NodeIndex n) {
      return cluster_of(n) == home && !is_reduction(node(n)) && copies_[index(n)].empty() &&
             !std::ranges::binary_search(there, n);
    };
    std::int64_t stored = 0;
    Nodes pending, chain;
    for (const NodeIndex n : clusters_[index(home)].members) {
      const Id id = node(n).out[0];
      if (!is_chain(n) || !is_read_only_by(id, home, reader)) continue;
      stored += graph_.type(id).bytes();
      pending.push_back(n);
    }
    if (stored <= kSmallBytes) return false;
    std::vector<Id> sources;
    while (!pending.empty()) {
      const NodeIndex n = pending.back();
      pending.pop_back();
      if (std::ranges::binary_search(chain, n)) continue;
      insert_sorted(chain, n);
      std::vector<Id> own;
      visit_sources(n, own);
      for (const Id id : own) {
        if (producer(id) >= 0 && is_chain(producer(id))) {
          pending.push_back(producer(id));
        } else if (!contains(sources, id)) {
          sources.push_back(id);
        }
      }
    }
    const FuseGroup group = group_of(there, reader);
    std::int64_t kept = 0;  // for longer than without the recomputation
    for (const Id id : sources) {
      const std::int64_t bytes = graph_.type(id).bytes();
      const bool local = producer(id) >= 0 && std::ranges::binary_search(there, producer(id));
      if (local || contains(group.inputs, id) || 8 * bytes <= stored) continue;
      if (producer(id) < 0) return false;  // it may be overwritten once it has been read
      if (!is_stored_until(id, there.back())) kept += bytes;
    }
    if (kept >= stored) return false;
    Nodes members = there;
    for (const NodeIndex n : chain) insert_sorted(members, n);
    if (!fits(members, reader)) return false;
    clusters_[index(reader)].members = std::move(members);
    for (const NodeIndex n : chain) copies_[index(n)] = {reader};
    for (auto n = chain.rbegin(); n != chain.rend(); ++n) leave_home(*n);
    return true;
  }

  // Takes a node that has copies out of its own cluster where nothing there needs it any more.
  void leave_home(NodeIndex n) {
    const int home = cluster_of(n);
    Nodes& left = clusters_[index(home)].members;
    const Id id = node(n).out[0];
    const bool needed = std::ranges::any_of(
        users_[index(id)], [&](NodeIndex user) { return std::ranges::binary_search(left, user); });
    if (needed || is_read_outside(n, left)) return;
    Nodes rest = left;
    std::erase(rest, n);
    if (!rest.empty() && !fits(rest, home)) return;
    left = std::move(rest);
    clusters_[index(home)].alive = !left.empty();
    cluster_of_[index(n)] = copies_[index(n)].front();
    copies_[index(n)].erase(copies_[index(n)].begin());
  }

  // Whether `id` is stored, and at least until `last` has run, for readers that are not recomputed.
  bool is_stored_until(Id id, NodeIndex last) const {
    const NodeIndex from = producer(id);
    if (cluster_of(from) >= 0 && !is_read_outside(from, clusters_[index(cluster_of(from))].members))
      return false;
    return std::ranges::any_of(users_[index(id)], [&](NodeIndex user) {
      return user > last && unit_of(user) != unit_of(from);
    });
  }

  // Readers come first: where they are computed is settled when their operands are looked at.
  void recompute_cheap() {
    for (NodeIndex n = count(); n-- > 0;) {
      if (kind(n) == NodeKind::fusable && is_cheap(node(n))) recompute_in_readers(n);
    }
  }

  void recompute_in_readers(NodeIndex n) {
    const int home = cluster_of(n);
    const Id id = node(n).out[0];
    if (is_output_[index(id)]) return;
    Nodes readers;  // clusters
    for (const NodeIndex user : users_[index(id)]) {
      if (cluster_of(user) < 0) return;
      if (cluster_of(user) != home) insert_sorted(readers, cluster_of(user));
      for (const int c : copies_[index(user)]) {
        if (c != home) insert_sorted(readers, c);
      }
    }
    const auto members = [&](int c) -> Nodes& { return clusters_[index(c)].members; };
    std::erase_if(readers, [&](int r) { return std::ranges::binary_search(members(r), n); });
    if (readers.empty()) return;
    if (!std::ranges::all_of(readers, [&](int r) { return is_there_anyway(n, members(r)); }))
      return;
    for (const int r : readers) insert_sorted(members(r), n);
    if (!std::ranges::all_of(readers, [&](int r) { return fits(members(r), r); })) {
      for (const int r : readers) std::erase(members(r), n);
      return;
    }
    for (const int r : readers) insert_sorted(copies_[index(n)], r);
    leave_home(n);
  }

  // Whether all operands of n are stored for others, and at least until these members run.
  bool is_there_anyway(NodeIndex n, const Nodes& members) const {
    const FuseGroup reader = group_of(members, kAnyCluster);
    std::vector<Id> sources;
    visit_sources(n, sources);
    return std::ranges::all_of(sources, [&](Id id) {
      if (contains(reader.inputs, id)) return true;
      // An input may be overwritten once it has been read.
      return producer(id) >= 0 && is_stored_until(id, members.back());
    });
  }

  // --- the result

  // The row reductions have a lowering of their own, which is good at it.
  void dissolve_lone_reductions() {
    for (Cluster& cluster : clusters_) {
      if (!cluster.alive || cluster.members.size() != 1) continue;
      const NodeIndex n = cluster.members[0];
      if (!is_reduction(node(n)) || is_free_value(node(n).in[0])) continue;
      cluster_of_[index(n)] = -1;
      cluster.alive = false;
    }
  }

  // They have no lowering of their own, and kernels do not mix types: each is a fused node alone.
  bool is_integer_elementwise(NodeIndex n) const {
    const TileOp tile = node(n).op->tile;
    const bool free = tile == TileOp::full || tile == TileOp::iota || tile == TileOp::broadcast;
    return kind(n) == NodeKind::alone && tile != TileOp::none && !free && !is_reduction(node(n));
  }

  FusePlan finish() {
    FusePlan plan;
    for (int c = 0; c < static_cast<int>(clusters_.size()); ++c) {
      const Cluster& cluster = clusters_[index(c)];
      if (cluster.alive) plan.groups.push_back(group_of(cluster.members, c));
    }
    // Units run as early as their last node stood in the graph.
    std::vector<FuseUnit> units;
    std::vector<int> maker(graph_.values.size(), -1);  // the unit that makes a value
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
      units.push_back({static_cast<int>(g), plan.groups[g].nodes.back()});
      for (const Id id : plan.groups[g].outputs) maker[index(id)] = static_cast<int>(g);
    }
    for (NodeIndex n = 0; n < count(); ++n) {
      const bool alone = kind(n) == NodeKind::free ? materialised_[index(n)] : cluster_of(n) < 0;
      if (!alone) continue;
      for (const Id id : node(n).out) maker[index(id)] = static_cast<int>(units.size());
      units.push_back({-1, n});
      if (!is_integer_elementwise(n)) continue;
      units.back().group = static_cast<int>(plan.groups.size());
      plan.groups.push_back({{n}, {}, node(n).out});
      for (const Id id : node(n).in) {
        if (!contains(plan.groups.back().inputs, id)) plan.groups.back().inputs.push_back(id);
      }
    }
    std::vector<int> waits(units.size(), 0);
    std::vector<std::vector<int>> next(units.size());
    for (std::size_t u = 0; u < units.size(); ++u) {
      const auto& in =
          units[u].group >= 0 ? plan.groups[index(units[u].group)].inputs : node(units[u].node).in;
      for (const Id id : in) {
        if (producer(id) < 0) continue;
        MIXFLOW_CHECK(maker[index(id)] >= 0, "fusion lost a value");
        next[index(maker[index(id)])].push_back(static_cast<int>(u));
        ++waits[u];
      }
    }
    using Entry = std::pair<NodeIndex, int>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> ready;
    for (std::size_t u = 0; u < units.size(); ++u) {
      if (waits[u] == 0) ready.emplace(units[u].node, static_cast<int>(u));
    }
    while (!ready.empty()) {
      const int u = ready.top().second;
      ready.pop();
      plan.order.push_back(units[index(u)]);
      for (const int reader : next[index(u)]) {
        if (--waits[index(reader)] == 0) ready.emplace(units[index(reader)].node, reader);
      }
    }
    MIXFLOW_CHECK(plan.order.size() == units.size(), "fusion made a cycle");
    return plan;
  }

  const Graph& graph_;
  std::vector<int> cluster_of_;
  std::vector<Nodes> copies_;  // by node: clusters besides cluster_of that compute it too
  std::vector<NodeKind> kinds_;
  std::vector<Nodes> users_;
  std::vector<bool> is_output_;
  std::vector<bool> materialised_;
  std::vector<Cluster> clusters_;
  std::vector<std::uint32_t> seen_;
  std::uint32_t stamp_ = 0;
};

}  // namespace

FusePlan plan_fusion(const Graph& graph) { return Grouping(graph).plan(); }

}  // namespace mixflow
