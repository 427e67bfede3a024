#include "transform/fuse_group.h"

#include <algorithm>
#include <queue>
#include <utility>

#include "graph/op.h"
#include "transform/fuse_clusters.h"
#include "transform/fuse_recompute.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

constexpr int kMaxRounds = 8;

class Grouping {
 public:
  explicit Grouping(const Graph& graph) : c_(graph) {}

  FusePlan plan() {
    for (NodeIndex n = 0; n < c_.count(); ++n) {
      if (c_.kind(n) == NodeKind::fusable) place(n);
    }
    for (int round = 0; round < kMaxRounds && merge_all(); ++round) {
    }
    recompute(c_);
    dissolve_lone_reductions();
    return finish();
  }

 private:
  NodeIndex time_of(Id id) const {
    const NodeIndex n = c_.producer(id);
    if (n < 0) return -1;
    return c_.home(n) >= 0 ? c_.at(c_.home(n)).ready : n;
  }

  // --- growing

  void place(NodeIndex n) {
    std::vector<Id> sources;
    c_.visit_sources(n, sources);
    Nodes candidates;
    NodeIndex ready = -1;
    for (const Id id : sources) {
      ready = std::max(ready, time_of(id));
      const int c = c_.producer(id) >= 0 ? c_.home(c_.producer(id)) : -1;
      if (c >= 0) insert_sorted(candidates, c);
    }
    for (auto it = candidates.rbegin(); it != candidates.rend(); ++it) {
      Cluster& cluster = c_.at(*it);
      if (ready > cluster.ready && !may_wait(cluster.members, {n})) continue;
      if (c_.closes_cycle(n, c_.unit_of_cluster(*it))) continue;
      Nodes members = cluster.members;
      insert_sorted(members, n);
      if (!c_.fits(members, Clusters::kAny)) continue;
      cluster.members = std::move(members);
      cluster.ready = std::max(cluster.ready, ready);
      c_.set_home(n, *it);
      c_.settle(*it);
      return;
    }
    c_.set_home(n, c_.add({{n}, ready, true}));
    c_.settle(c_.home(n));
  }

  // Whether `early` may be computed as late as `late`: nobody else wants its results, and they are
  // no fewer than the large inputs that are kept in their place.
  bool may_wait(const Nodes& early, const Nodes& late) const {
    std::int64_t results = 0, inputs = 0;
    const auto in_late = [&](NodeIndex user) { return std::ranges::binary_search(late, user); };
    const auto in_early = [&](NodeIndex user) { return std::ranges::binary_search(early, user); };
    for (const NodeIndex n : early) {
      const Id id = c_.node(n).out[0];
      if (c_.is_output(id)) return false;
      bool read = false;
      for (const NodeIndex user : c_.users(id)) {
        if (!in_early(user) && !in_late(user)) return false;
        read |= in_late(user);
      }
      if (read) results += c_.bytes(id);
    }
    for (const Id id : c_.group_of(early, Clusters::kAny).inputs) {
      const bool ends = c_.producer(id) >= 0 && std::ranges::all_of(c_.users(id), in_early);
      if (ends) inputs += c_.bytes(id);
    }
    return inputs <= std::max(results, kSmallBytes);
  }

  // --- merging

  bool merge_all() {
    bool merged = false;
    for (int c = 0; c < c_.size(); ++c) {
      while (c_.at(c).alive && merge_one(c)) merged = true;
    }
    return merged;
  }

  bool merge_one(int c) {
    Nodes siblings;
    for (const NodeIndex m : c_.at(c).members) {
      std::vector<Id> sources;
      c_.visit_sources(m, sources);
      for (const Id id : sources) {
        if (c_.graph().type(id).rank() == 0) continue;
        for (const NodeIndex user : c_.users(id)) {
          if (c_.home(user) >= 0 && c_.home(user) != c) insert_sorted(siblings, c_.home(user));
        }
      }
    }
    for (const int p : c_.producers_of(c)) {
      const bool waits = c_.at(c).ready > c_.at(p).ready;
      if (waits && !may_wait(c_.at(p).members, c_.at(c).members)) continue;
      if (try_merge(p, c)) return true;
    }
    for (const int s : siblings) {
      if (c_.at(s).ready == c_.at(c).ready && try_merge(s, c)) return true;
    }
    return false;
  }

  bool try_merge(int a, int b) {
    Nodes members = c_.at(a).members;
    if (members.size() + c_.at(b).members.size() > kMaxInstrs) return false;
    for (const NodeIndex n : c_.at(b).members) insert_sorted(members, n);
    if (c_.closes_cycle(c_.unit_of_cluster(a), c_.unit_of_cluster(b)) ||
        c_.closes_cycle(c_.unit_of_cluster(b), c_.unit_of_cluster(a)))
      return false;
    if (!c_.fits(members, Clusters::kAny)) return false;
    for (const NodeIndex n : c_.at(a).members) c_.set_home(n, b);
    c_.at(b).ready = std::max(c_.at(a).ready, c_.at(b).ready);
    c_.at(b).members = std::move(members);
    c_.at(a) = {{}, -1, false};
    c_.settle(b);
    return true;
  }

  // --- the result

  // The row reductions have a lowering of their own, which is good at it.
  void dissolve_lone_reductions() {
    for (int c = 0; c < c_.size(); ++c) {
      Cluster& cluster = c_.at(c);
      if (!cluster.alive || cluster.members.size() != 1) continue;
      const NodeIndex n = cluster.members[0];
      if (!is_reduction(c_.node(n)) || c_.is_free_value(c_.node(n).in[0])) continue;
      c_.set_home(n, -1);
      cluster.alive = false;
    }
  }

  // They have no lowering of their own, and kernels do not mix types: each is a fused node alone.
  bool is_integer_elementwise(NodeIndex n) const {
    const TileOp tile = c_.node(n).op->tile;
    const bool elementwise = tile != TileOp::none && tile < TileOp::full;
    return c_.kind(n) == NodeKind::alone && elementwise;
  }

  FusePlan finish() {
    FusePlan plan{.searched = c_.searched()};
    for (int c = 0; c < c_.size(); ++c) {
      const Cluster& cluster = c_.at(c);
      if (cluster.alive) plan.groups.push_back(c_.group_of(cluster.members, c));
    }
    // Units run as early as their last node stood in the graph.
    std::vector<FuseUnit> units;
    std::vector<int> maker(c_.graph().values.size(), -1);  // the unit that makes a value
    for (std::size_t g = 0; g < plan.groups.size(); ++g) {
      units.push_back({static_cast<int>(g), plan.groups[g].nodes.back()});
      for (const Id id : plan.groups[g].outputs) maker[index(id)] = static_cast<int>(g);
    }
    for (NodeIndex n = 0; n < c_.count(); ++n) {
      const bool alone = c_.kind(n) == NodeKind::free ? c_.is_materialised(n) : c_.home(n) < 0;
      if (!alone) continue;
      for (const Id id : c_.node(n).out) maker[index(id)] = static_cast<int>(units.size());
      units.push_back({-1, n});
      if (!is_integer_elementwise(n)) continue;
      units.back().group = static_cast<int>(plan.groups.size());
      plan.groups.push_back({{n}, {}, c_.node(n).out});
      for (const Id id : c_.node(n).in) {
        if (!contains(plan.groups.back().inputs, id)) plan.groups.back().inputs.push_back(id);
      }
    }
    std::vector<int> waits(units.size(), 0);
    std::vector<std::vector<int>> next(units.size());
    for (std::size_t u = 0; u < units.size(); ++u) {
      const auto& in = units[u].group >= 0 ? plan.groups[index(units[u].group)].inputs
                                           : c_.node(units[u].node).in;
      for (const Id id : in) {
        if (c_.producer(id) < 0) continue;
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

  Clusters c_;
};

}  // namespace

FusePlan plan_fusion(const Graph& graph) { return Grouping(graph).plan(); }

}  // namespace mixflow
