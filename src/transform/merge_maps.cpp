#include "transform/merge_maps.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/rebuild.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

// Inputs of a map by group.
struct Groups {
  explicit Groups(const Node& map) {
    const std::span<const Id> all(map.in);
    const Region& region = *region_of(map);
    consts = all.first(index(region.num_consts));
    sums = all.subspan(consts.size(), index(region.num_carry));
    xs = all.subspan(consts.size() + sums.size());
  }

  std::span<const Id> consts, sums, xs;
};

bool includes(std::span<const Id> all, std::span<const Id> some) {
  return std::ranges::all_of(some, [&](Id id) { return std::ranges::find(all, id) != all.end(); });
}

// The results of both: sums of the first, of the second, then what each stacks.
RegionPtr merged_region(const Node& first, const Node& second) {
  const Region &a = *region_of(first), &b = *region_of(second);
  const Groups in_a(first), in_b(second);
  Builder builder;
  const Ids inputs = declare_inputs(builder, *b.body);
  const auto input_of = [&](std::span<const Id> group, int before, Id id) {
    return inputs[index(before + (std::ranges::find(group, id) - group.begin()))];
  };
  Ids args;
  for (const Id id : in_a.consts) args.push_back(input_of(in_b.consts, 0, id));
  for (const Id id : in_a.xs) args.push_back(input_of(in_b.xs, b.num_consts, id));
  const Ids of_a = builder.inline_graph(*a.body, args);
  const Ids of_b = builder.inline_graph(*b.body, inputs);
  Ids outputs(of_a.begin(), of_a.begin() + a.num_carry);
  outputs.insert(outputs.end(), of_b.begin(), of_b.begin() + b.num_carry);
  outputs.insert(outputs.end(), of_a.begin() + a.num_carry, of_a.end());
  outputs.insert(outputs.end(), of_b.begin() + b.num_carry, of_b.end());
  auto merged = std::make_shared<Region>(b);
  merged->body = builder.finish(outputs);
  merged->num_carry += a.num_carry;
  return merged;
}

// The maps of one body that can be merged, two by two.
class Pairs {
 public:
  explicit Pairs(const Graph& graph)
      : graph_(graph), partner_(graph.nodes.size(), kAlone), merged_(graph.nodes.size()) {}

  // Whether there are any; to be called first.
  bool find() {
    bool found = false;
    std::vector<Map> earlier;
    for (std::size_t n = 0; n < graph_.nodes.size(); ++n) {
      if (graph_.nodes[n].op != &op::k_map) continue;
      const Map map{n, count_ops(*region_of(graph_.nodes[n])->body, op::k_dot)};
      found |= join_an_earlier(map, earlier);
      earlier.push_back(map);
    }
    return found;
  }

  // The body with one map for each pair.
  GraphPtr merged() {
    map_.assign(graph_.values.size(), kNone);
    waits_.assign(graph_.nodes.size(), false);
    const Ids inputs = declare_inputs(builder_, graph_);
    for (std::size_t i = 0; i < inputs.size(); ++i) map_[index(graph_.inputs[i])] = inputs[i];
    for (std::size_t n = 0; n < graph_.nodes.size(); ++n) emit(n);
    return builder_.finish(mapped(graph_.outputs));
  }

 private:
  static constexpr std::size_t kAlone = static_cast<std::size_t>(-1);

  struct Map {
    std::size_t node;
    std::int64_t dots;
  };

  // Pairs so far stand before `second`, so nothing that an earlier map needs leads to it: that it
  // needs the earlier one is the only way to a cycle.
  bool join_an_earlier(const Map& second, const std::vector<Map>& earlier) {
    std::vector<bool> needed;
    for (const Map& first : earlier) {
      if (partner_[first.node] != kAlone || !may_hold(second, first)) continue;
      if (needed.empty()) needed = needed_by(second.node);
      if (needed[first.node]) continue;
      RegionPtr region = merged_region(graph_.nodes[first.node], graph_.nodes[second.node]);
      if (count_ops(*region->body, op::k_dot) != second.dots) continue;
      partner_[first.node] = second.node;
      partner_[second.node] = first.node;
      merged_[first.node] = std::move(region);
      return true;
    }
    return false;
  }

  // Whether `second` could do the products of `first`, as far as can be said without its body.
  bool may_hold(const Map& second, const Map& first) const {
    const Node &a = graph_.nodes[first.node], &b = graph_.nodes[second.node];
    if (region_of(a)->n != region_of(b)->n || first.dots == 0 || first.dots > second.dots)
      return false;
    return includes(Groups(b).consts, Groups(a).consts) && includes(Groups(b).xs, Groups(a).xs);
  }

  // Calls `visit` with each node that makes what node n, or the map merged with it, reads.
  template <class Visit>
  void for_each_source(std::size_t n, const Visit& visit) const {
    for (const std::size_t part : {n, partner_[n]}) {
      if (part == kAlone) continue;
      for (const Id id : graph_.nodes[part].in) {
        const std::int32_t from = graph_.values[index(id)].node;
        if (from >= 0) visit(index(from));
      }
    }
  }

  // By node: whether `node` cannot be computed without it.
  std::vector<bool> needed_by(std::size_t node) const {
    std::vector<bool> needed(graph_.nodes.size(), false);
    std::vector<std::size_t> pending{node};
    while (!pending.empty()) {
      const std::size_t n = pending.back();
      pending.pop_back();
      for_each_source(n, [&](std::size_t from) {
        if (needed[from]) return;
        needed[from] = true;
        pending.push_back(from);
      });
    }
    return needed;
  }

  bool is_emitted(std::size_t n) const { return map_[index(graph_.nodes[n].out[0])] != kNone; }

  // Appends a node, what it needs first: a merged map stands where the first of the two did. Not by
  // recursion, since graphs may be long.
  void emit(std::size_t node) {
    std::vector<std::size_t> pending{node};
    while (!pending.empty()) {
      const std::size_t n = pending.back(), before = pending.size();
      if (!is_emitted(n)) {
        for_each_source(n, [&](std::size_t from) {
          if (!is_emitted(from)) pending.push_back(from);
        });
      }
      if (pending.size() > before) {
        MIXFLOW_CHECK(!waits_[n], "merged maps need each other");
        waits_[n] = true;
        continue;
      }
      pending.pop_back();
      if (!is_emitted(n)) append(n);
    }
  }

  void append(std::size_t n) {
    if (partner_[n] != kAlone) {
      append_merged(std::min(n, partner_[n]), std::max(n, partner_[n]));
      return;
    }
    const Node& node = graph_.nodes[n];
    builder_.set_label(node.label);
    const Ids in = mapped(node.in);
    set(node.out, node.attrs.region ? builder_.emit_region(*node.op, in, node.attrs.region)
                                    : Ids{builder_.emit(*node.op, in, node.attrs)});
  }

  void append_merged(std::size_t first, std::size_t second) {
    const Node &a = graph_.nodes[first], &b = graph_.nodes[second];
    const Groups in_a(a), in_b(b);
    Ids in(in_b.consts.begin(), in_b.consts.end());
    in.insert(in.end(), in_a.sums.begin(), in_a.sums.end());
    in.insert(in.end(), in_b.sums.begin(), in_b.sums.end());
    in.insert(in.end(), in_b.xs.begin(), in_b.xs.end());
    builder_.set_label(b.label);
    const Ids out = builder_.emit_region(op::k_map, mapped(in), merged_[first]);
    const std::span<const Id> out_a(a.out), out_b(b.out);
    const std::size_t sums_a = in_a.sums.size(), sums_b = in_b.sums.size();
    auto next = out.begin();
    for (const std::span<const Id> part :
         {out_a.first(sums_a), out_b.first(sums_b), out_a.subspan(sums_a), out_b.subspan(sums_b)}) {
      const auto end = next + std::ssize(part);
      set(part, Ids(next, end));
      next = end;
    }
  }

  void set(std::span<const Id> ids, const Ids& made) {
    for (std::size_t k = 0; k < made.size(); ++k) map_[index(ids[k])] = made[k];
  }

  Ids mapped(const Ids& ids) const {
    Ids result;
    for (const Id id : ids) result.push_back(map_[index(id)]);
    return result;
  }

  const Graph& graph_;
  std::vector<std::size_t> partner_;  // by node
  std::vector<RegionPtr> merged_;     // by the first node of a pair
  Builder builder_;
  Ids map_;
  std::vector<bool> waits_;  // by node, for what it needs to be appended
};

class MergeMaps {
 public:
  GraphPtr run(const Graph& graph) {
    GraphPtr merged = rebuild(graph, [this](Builder& b, const Node& node, auto in) {
      const RegionPtr& old = node.attrs.region;
      if (!old) return Ids{b.emit(*node.op, in, node.attrs)};
      return b.emit_region(*node.op, in,
                           regions_.get(old, [&] { return with_body(old, run(*old->body)); }));
    });
    // What two maps have become may be merged into a third.
    for (bool again = true; again;) {
      Pairs pairs(*merged);
      again = pairs.find();
      if (again) merged = pairs.merged();
    }
    return merged;
  }

 private:
  RegionCache regions_;
};

}  // namespace

GraphPtr merge_maps(const Graph& graph) { return MergeMaps().run(graph); }

}  // namespace mixflow
