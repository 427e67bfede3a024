// The fusable nodes of one body in clusters, and what may be asked of them. Internal to the fuse
// pass: fuse_group.cpp grows and merges clusters, fuse_recompute.cpp lets several compute a node.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "graph/graph.h"
#include "transform/fuse_group.h"

namespace mixflow {

using NodeIndex = std::int32_t;
using Nodes = std::vector<NodeIndex>;  // sorted; of clusters too

// Below, fewer kernels count for more than bytes.
inline constexpr std::int64_t kSmallBytes = 16 * 1024;
inline constexpr std::size_t kMaxInstrs = 64;

bool is_reduction(const Node& node);

inline void insert_sorted(Nodes& nodes, NodeIndex n) {
  const auto at = std::ranges::lower_bound(nodes, n);
  if (at == nodes.end() || *at != n) nodes.insert(at, n);
}

template <class T>
bool contains(const std::vector<T>& list, const T& x) {
  return std::ranges::find(list, x) != list.end();
}

enum class NodeKind : std::uint8_t { alone, fusable, free };

struct Cluster {
  Nodes members;         // fusable nodes
  NodeIndex ready = -1;  // the last node outside that it waits for, so far as known
  bool alive = true;
};

class Clusters {
 public:
  static constexpr int kAny = -1;

  // No node is in a cluster yet.
  explicit Clusters(const Graph& graph);

  // --- the graph as fusion sees it

  const Graph& graph() const { return graph_; }
  NodeIndex count() const { return static_cast<NodeIndex>(graph_.nodes.size()); }
  const Node& node(NodeIndex n) const { return graph_.nodes[static_cast<std::size_t>(n)]; }
  NodeIndex producer(Id id) const { return graph_.values[static_cast<std::size_t>(id)].node; }
  std::int64_t bytes(Id id) const { return graph_.type(id).bytes(); }
  NodeKind kind(NodeIndex n) const { return kinds_[static_cast<std::size_t>(n)]; }
  // Readers; those that read it through free nodes count, free nodes themselves only if they have
  // to be materialised for a reader that is not fused.
  const Nodes& users(Id id) const { return users_[static_cast<std::size_t>(id)]; }
  bool is_output(Id id) const { return is_output_[static_cast<std::size_t>(id)]; }
  bool is_materialised(NodeIndex n) const { return materialised_[static_cast<std::size_t>(n)]; }
  bool is_free_value(Id id) const {
    return producer(id) >= 0 && kind(producer(id)) == NodeKind::free;
  }
  // What a node waits for: values that are not free, seen through free nodes if it is fusable.
  // Appended to `sources`, each once.
  void visit_sources(NodeIndex n, std::vector<Id>& sources) const;

  // --- clusters

  int size() const { return static_cast<int>(clusters_.size()); }
  Cluster& at(int c) { return clusters_[static_cast<std::size_t>(c)]; }
  const Cluster& at(int c) const { return clusters_[static_cast<std::size_t>(c)]; }
  int add(Cluster cluster);  // its number
  // The cluster that a node is in, -1: none. Of several, the one that hands its value to others.
  int home(NodeIndex n) const { return home_[static_cast<std::size_t>(n)]; }
  void set_home(NodeIndex n, int c) { home_[static_cast<std::size_t>(n)] = c; }
  // Clusters besides its home that compute it too.
  Nodes& copies(NodeIndex n) { return copies_[static_cast<std::size_t>(n)]; }
  const Nodes& copies(NodeIndex n) const { return copies_[static_cast<std::size_t>(n)]; }

  // Clusters that make what c reads.
  Nodes producers_of(int c) const;
  // A unit is a cluster, or a node that is in none.
  int unit_of(NodeIndex n) const { return home(n) >= 0 ? unit_of_cluster(home(n)) : n; }
  int unit_of_cluster(int c) const { return count() + c; }
  // A path from `to` through something else to `from` or back would close a cycle once they are
  // one.
  bool closes_cycle(int from, int to);
  std::int64_t searched() const { return searched_; }  // units that this looked at, all together
  // To be called for a cluster that has grown, before closes_cycle is asked again.
  void settle(int c);

  // The members with the free nodes that they absorb, and what goes in and out. Those that belong
  // to another cluster than `own` are copies and give out nothing.
  FuseGroup group_of(const Nodes& members, int own) const;
  // Whether something but `members` reads what n makes for others.
  bool is_read_outside(NodeIndex n, const Nodes& members) const;
  // Whether one kernel can do them.
  bool fits(const Nodes& members, int own) const;

 private:
  void classify();
  void find_users();
  template <class F>
  void for_each_source_unit(int unit, F visit) const;
  bool reaches(std::vector<int> units, int target);
  int level_of_sources(int unit) const;
  void raise_readers(int unit);

  const Graph& graph_;
  std::vector<NodeKind> kinds_;
  std::vector<Nodes> users_;
  std::vector<bool> is_output_;
  std::vector<bool> materialised_;
  std::vector<int> home_;
  std::vector<Nodes> copies_;
  std::vector<Cluster> clusters_;
  // By unit: higher than the levels of all units that it waits for. So a search for a unit ends
  // where levels fall to its own: without that, planning would take the square of a network's
  // depth.
  std::vector<int> levels_;
  std::vector<std::uint32_t> seen_;  // by unit, the search that met it last
  std::uint32_t stamp_ = 0;
  std::int64_t searched_ = 0;
};

}  // namespace mixflow
