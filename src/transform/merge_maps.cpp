#include "transform/merge_maps.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/rebuild.h"

namespace mixflow {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

std::int64_t dots(const Graph& graph) { return count_ops(graph, op::k_dot); }

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

// One body: which maps are merged, then the graph with them.
class Body {
 public:
  explicit Body(const Graph& graph) : graph_(graph), partner_(graph.nodes.size(), kAlone) {}

  GraphPtr run() {
    for (std::size_t second = 0; second < graph_.nodes.size(); ++second) {
      if (graph_.nodes[second].op != &op::k_map) continue;
      for (std::size_t first = 0; first < second && partner_[second] == kAlone; ++first)
        try_to_merge(first, second);
    }
    map_.assign(graph_.values.size(), kNone);
    const Ids inputs = declare_inputs(builder_, graph_);
    for (std::size_t i = 0; i < inputs.size(); ++i) map_[index(graph_.inputs[i])] = inputs[i];
    for (std::size_t n = 0; n < graph_.nodes.size(); ++n) emit(n);
    return builder_.finish(mapped(graph_.outputs));
  }

 private:
  static constexpr std::size_t kAlone = static_cast<std::size_t>(-1);

  void try_to_merge(std::size_t first, std::size_t second) {
    const Node &a = graph_.nodes[first], &b = graph_.nodes[second];
    if (a.op != &op::k_map || partner_[first] != kAlone) return;
    if (region_of(a)->n != region_of(b)->n || dots(*region_of(a)->body) == 0) return;
    if (!includes(Groups(b).consts, Groups(a).consts) || !includes(Groups(b).xs, Groups(a).xs))
      return;
    if (depends(second, first)) return;
    const RegionPtr merged = merged_region(a, b);
    if (dots(*merged->body) != dots(*region_of(b)->body)) return;
    partner_[first] = second;
    partner_[second] = first;
    merged_.emplace_back(first, merged);
  }

  // Whether `node` needs a result of `target`, an earlier node, or of a map merged with one that
  // does.
  bool depends(std::size_t node, std::size_t target) const {
    std::vector<bool> seen(graph_.nodes.size(), false);
    std::vector<std::size_t> pending{node};
    while (!pending.empty()) {
      const std::size_t n = pending.back();
      pending.pop_back();
      if (n == target) return true;
      if (seen[n]) continue;
      seen[n] = true;
      if (partner_[n] != kAlone) pending.push_back(partner_[n]);
      for (const Id id : graph_.nodes[n].in) {
        const std::int32_t from = graph_.values[index(id)].node;
        if (from >= 0) pending.push_back(index(from));
      }
    }
    return false;
  }

  // Appends a node, what it needs first: a merged map stands where the first of the two did.
  void emit(std::size_t n) {
    const Node& node = graph_.nodes[n];
    if (map_[index(node.out[0])] != kNone) return;
    const std::size_t partner = partner_[n];
    for (const std::size_t part : {n, partner}) {
      if (part == kAlone) continue;
      for (const Id id : graph_.nodes[part].in) {
        const std::int32_t from = graph_.values[index(id)].node;
        if (from >= 0) emit(index(from));
      }
    }
    if (partner != kAlone) {
      emit_merged(std::min(n, partner), std::max(n, partner));
      return;
    }
    builder_.set_label(node.label);
    const Ids in = mapped(node.in);
    set(node.out, node.attrs.region ? builder_.emit_region(*node.op, in, node.attrs.region)
                                    : Ids{builder_.emit(*node.op, in, node.attrs)});
  }

  void emit_merged(std::size_t first, std::size_t second) {
    const Node &a = graph_.nodes[first], &b = graph_.nodes[second];
    const auto found = std::ranges::find(merged_, first, &Merged::first);
    const Groups in_a(a), in_b(b);
    Ids in(in_b.consts.begin(), in_b.consts.end());
    in.insert(in.end(), in_a.sums.begin(), in_a.sums.end());
    in.insert(in.end(), in_b.sums.begin(), in_b.sums.end());
    in.insert(in.end(), in_b.xs.begin(), in_b.xs.end());
    builder_.set_label(b.label);
    const Ids out = builder_.emit_region(op::k_map, mapped(in), found->second);
    const auto sums_a = std::ssize(in_a.sums), sums_b = std::ssize(in_b.sums);
    const auto ys_a = std::ssize(a.out) - sums_a;
    auto next = out.begin();
    const auto take = [&](const Ids& ids, std::ptrdiff_t from, std::ptrdiff_t count) {
      set(std::span(ids).subspan(index(from), index(count)), Ids(next, next + count));
      next += count;
    };
    take(a.out, 0, sums_a);
    take(b.out, 0, sums_b);
    take(a.out, sums_a, ys_a);
    take(b.out, sums_b, std::ssize(b.out) - sums_b);
  }

  void set(std::span<const Id> ids, const Ids& made) {
    for (std::size_t k = 0; k < made.size(); ++k) map_[index(ids[k])] = made[k];
  }

  Ids mapped(const Ids& ids) const {
    Ids result;
    for (const Id id : ids) result.push_back(map_[index(id)]);
    return result;
  }

  using Merged = std::pair<std::size_t, RegionPtr>;  // by the first of the two nodes

  const Graph& graph_;
  std::vector<std::size_t> partner_;  // by node
  std::vector<Merged> merged_;
  Builder builder_;
  Ids map_;
};

class MergeMaps {
 public:
  GraphPtr run(const Graph& graph) {
    const GraphPtr inner = rebuild(graph, [this](Builder& b, const Node& node, auto in) {
      const RegionPtr& old = node.attrs.region;
      if (!old) return Ids{b.emit(*node.op, in, node.attrs)};
      return b.emit_region(*node.op, in,
                           regions_.get(old, [&] { return with_body(old, run(*old->body)); }));
    });
    return Body(*inner).run();
  }

 private:
  RegionCache regions_;
};

}  // namespace

GraphPtr merge_maps(const Graph& graph) { return MergeMaps().run(graph); }

}  // namespace mixflow
