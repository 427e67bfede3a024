#include "transform/fuse_recompute.h"

#include <optional>
#include <utility>

#include "graph/op.h"

namespace mixflow {
namespace {

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

// Operands of so many bytes count for nothing beside a result of `bytes`.
std::int64_t negligible_beside(std::int64_t bytes) { return bytes / 8; }

class Recompute {
 public:
  explicit Recompute(Clusters& clusters) : c_(clusters) {}

  void chains() {
    for (int reader = c_.size(); reader-- > 0;) {
      for (bool again = true; again && c_.at(reader).alive;) {
        again = std::ranges::any_of(c_.producers_of(reader),
                                    [&](int home) { return chain(home, reader); });
      }
    }
  }

  // Readers come first: where they are computed is settled when their operands are looked at.
  void cheap() {
    for (NodeIndex n = c_.count(); n-- > 0;) {
      if (c_.kind(n) == NodeKind::fusable && is_cheap(c_.node(n))) in_all_readers(n);
    }
  }

 private:
  // What cluster `home` would store for cluster `reader` alone, with all that it is made of there.
  bool chain(int home, int reader) {
    const Nodes& there = c_.at(reader).members;
    const auto is_part = [&](NodeIndex n) {
      return n >= 0 && c_.home(n) == home && !is_reduction(c_.node(n)) && c_.copies(n).empty() &&
             !std::ranges::binary_search(there, n);
    };
    std::int64_t stored = 0;
    Nodes pending, nodes;
    for (const NodeIndex n : c_.at(home).members) {
      const Id id = c_.node(n).out[0];
      if (!is_part(n) || !is_read_only_by(id, home, reader)) continue;
      stored += c_.bytes(id);
      pending.push_back(n);
    }
    if (stored <= kSmallBytes) return false;
    while (!pending.empty()) {
      const NodeIndex n = pending.back();
      pending.pop_back();
      if (std::ranges::binary_search(nodes, n)) continue;
      insert_sorted(nodes, n);
      std::vector<Id> sources;
      c_.visit_sources(n, sources);
      for (const Id id : sources) {
        if (is_part(c_.producer(id))) pending.push_back(c_.producer(id));
      }
    }
    return compute_in(nodes, {reader},
                      {.most_kept = stored - 1, .negligible = negligible_beside(stored)});
  }

  void in_all_readers(NodeIndex n) {
    const int home = c_.home(n);
    const Id id = c_.node(n).out[0];
    if (c_.is_output(id)) return;
    Nodes readers;  // clusters
    for (const NodeIndex user : c_.users(id)) {
      if (c_.home(user) < 0) return;
      if (c_.home(user) != home) insert_sorted(readers, c_.home(user));
      for (const int c : c_.copies(user)) {
        if (c != home) insert_sorted(readers, c);
      }
    }
    std::erase_if(readers, [&](int r) { return std::ranges::binary_search(c_.at(r).members, n); });
    if (!readers.empty()) compute_in({n}, readers, {.negligible = negligible_beside(c_.bytes(id))});
  }

  // How many bytes operands may be kept for longer, and the size of those that do not count.
  struct Limits {
    std::int64_t most_kept = 0, negligible = 0;
  };

  // Makes nodes of one cluster members of `readers` too, where kernels and memory allow it; those
  // that are then needed nowhere else leave their home.
  bool compute_in(const Nodes& nodes, const Nodes& readers, const Limits& limits) {
    std::vector<Id> sources;
    for (const NodeIndex n : nodes) c_.visit_sources(n, sources);
    const auto is_made_here = [&](Id id) {
      return c_.producer(id) >= 0 && std::ranges::binary_search(nodes, c_.producer(id));
    };
    std::erase_if(sources, is_made_here);
    for (const int r : readers) {
      const std::optional<std::int64_t> kept = kept_longer(sources, r, limits.negligible);
      if (!kept || *kept > limits.most_kept) return false;
    }
    std::vector<std::pair<Nodes*, Nodes>> before;
    const auto change = [&](Nodes& list, NodeIndex n) {
      before.emplace_back(&list, list);
      insert_sorted(list, n);
    };
    for (const int r : readers) {
      for (const NodeIndex n : nodes) {
        change(c_.at(r).members, n);
        change(c_.copies(n), r);
      }
    }
    // What the copies read is a result of the cluster that makes it, which not all of its values
    // can be: a number beside matrices cannot.
    Nodes changed = readers;
    for (const Id id : sources) {
      const NodeIndex from = c_.producer(id);
      if (from >= 0 && c_.home(from) >= 0) insert_sorted(changed, c_.home(from));
    }
    if (!std::ranges::all_of(changed, [&](int c) { return c_.fits(c_.at(c).members, c); })) {
      for (auto saved = before.rbegin(); saved != before.rend(); ++saved)
        *saved->first = std::move(saved->second);
      return false;
    }
    for (auto n = nodes.rbegin(); n != nodes.rend(); ++n) leave_home(*n);
    return true;
  }

  // Bytes of `sources` that cluster r would keep from being freed until it runs. None if one is an
  // input of the graph that r does not read yet: it may be overwritten once it has been read.
  std::optional<std::int64_t> kept_longer(const std::vector<Id>& sources, int r,
                                          std::int64_t negligible) const {
    const Nodes& members = c_.at(r).members;
    const FuseGroup group = c_.group_of(members, r);
    std::int64_t kept = 0;
    for (const Id id : sources) {
      const bool made_there =
          c_.producer(id) >= 0 && std::ranges::binary_search(members, c_.producer(id));
      if (made_there || contains(group.inputs, id) || c_.bytes(id) <= negligible) continue;
      if (c_.producer(id) < 0) return std::nullopt;
      if (!is_stored_until(id, members.back())) kept += c_.bytes(id);
    }
    return kept;
  }

  // Whether `id`, made in cluster `home`, is read in cluster `reader` and nowhere else but at home.
  bool is_read_only_by(Id id, int home, int reader) const {
    if (c_.is_output(id)) return false;
    bool read = false;
    for (const NodeIndex user : c_.users(id)) {
      Nodes places = c_.copies(user);
      places.push_back(c_.home(user));
      for (const int c : places) {
        if (c != home && c != reader) return false;
        read |= c == reader;
      }
    }
    return read;
  }

  // Takes a node that has copies out of its own cluster where nothing there needs it any more.
  void leave_home(NodeIndex n) {
    const int home = c_.home(n);
    Nodes& left = c_.at(home).members;
    const Id id = c_.node(n).out[0];
    const bool needed = std::ranges::any_of(
        c_.users(id), [&](NodeIndex user) { return std::ranges::binary_search(left, user); });
    if (needed || c_.is_read_outside(n, left)) return;
    Nodes rest = left;
    std::erase(rest, n);
    if (!rest.empty() && !c_.fits(rest, home)) return;
    left = std::move(rest);
    c_.at(home).alive = !left.empty();
    c_.set_home(n, c_.copies(n).front());
    c_.copies(n).erase(c_.copies(n).begin());
  }

  // Whether `id` is stored, and at least until `last` has run, for readers that are not recomputed.
  bool is_stored_until(Id id, NodeIndex last) const {
    const NodeIndex from = c_.producer(id);
    if (c_.home(from) >= 0 && !c_.is_read_outside(from, c_.at(c_.home(from)).members)) return false;
    return std::ranges::any_of(c_.users(id), [&](NodeIndex user) {
      return user > last && c_.unit_of(user) != c_.unit_of(from);
    });
  }

  Clusters& c_;
};

}  // namespace

void recompute(Clusters& clusters) {
  Recompute rules(clusters);
  rules.chains();
  rules.cheap();
}

}  // namespace mixflow
