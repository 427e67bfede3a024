#include "transform/pack_factors.h"

#include <algorithm>
#include <compare>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kernels/gemm.h"
#include "ops/builder.h"
#include "ops/op_list.h"
#include "ops/pack.h"
#include "transform/rebuild.h"
#include "util/index.h"

namespace mixflow {
namespace {

// A matrix of a body as a factor of products.
struct Factor {
  Id id;
  Side side;
  bool trans;
  friend auto operator<=>(const Factor&, const Factor&) = default;
};

// A product's pairs as those of a dot_sum.
Shape pair_flags(const Node& node) {
  if (node.op == &op::k_dot_sum) return node.attrs.axes;
  return {(node.attrs.trans_a ? kPairTransA : 0) + (node.attrs.trans_b ? kPairTransB : 0)};
}

// Whether the product's kernel rounds its operands (of all pairs, or of none).
bool is_in_bf16(const Graph& graph, const Node& node) {
  if (node.op != &op::k_dot && node.op != &op::k_dot_sum) return false;
  const Type& out = graph.type(node.out[0]);
  if (out.dtype != DType::f32) return false;
  const std::int64_t m = out.shape[index(out.rank() - 2)], n = out.shape.back();
  const Shape flags = pair_flags(node);
  for (std::size_t pair = 0; pair < flags.size(); ++pair) {
    const Shape& a = graph.type(node.in[2 * pair]).shape;
    const std::int64_t k = (flags[pair] & kPairTransA) != 0 ? a[a.size() - 2] : a.back();
    if (!gemm_takes_bf16(m, n, k)) return false;
  }
  return true;
}

// A product's factors, in the order of its operands.
std::vector<Factor> factors_of(const Node& node) {
  std::vector<Factor> factors;
  const Shape flags = pair_flags(node);
  for (std::size_t pair = 0; pair < flags.size(); ++pair) {
    factors.push_back({node.in[2 * pair], Side::left, (flags[pair] & kPairTransA) != 0});
    factors.push_back({node.in[2 * pair + 1], Side::right, (flags[pair] & kPairTransB) != 0});
  }
  return factors;
}

class PackFactors {
 public:
  GraphPtr run(const Graph& graph) {
    return rewrite(graph, factors_to_pack(graph, nullptr), 0, {});
  }

 private:
  // A loop's constant, by position, that its body wants packed.
  struct Wanted {
    int constant;
    Side side;
    bool trans;

    Factor of(Id id) const { return {id, side, trans}; }
  };
  struct Loop {
    RegionPtr region;  // takes what it wants behind its constants
    std::vector<Wanted> wanted;
  };

  // The factors that a body is to read packed: constants of its own loop, what a loop inside
  // wants, and what two products read.
  std::vector<Factor> factors_to_pack(const Graph& graph, const Region* region) {
    std::map<Factor, int> readers;
    const auto is_constant = [&](Id id) {
      const Value& value = graph.values[index(id)];
      return region != nullptr && region->n > 1 && value.node < 0 &&
             value.index < region->num_consts;
    };
    for (const Node& node : graph.nodes) {
      if (is_in_bf16(graph, node)) {
        for (const Factor& factor : factors_of(node)) {
          if (!can_be_packed(graph.type(factor.id))) continue;
          readers[factor] += is_constant(factor.id) ? 2 : 1;
        }
      } else if (node.op == &op::k_scan) {
        for (const Wanted& w : loop_of(node.attrs.region).wanted)
          readers[w.of(node.in[index(w.constant)])] += 2;
      }
    }
    std::vector<Factor> packed;
    for (const auto& [factor, count] : readers) {
      if (count > 1) packed.push_back(factor);
    }
    return packed;
  }

  const Loop& loop_of(const RegionPtr& region) {
    if (const auto known = loops_.find(region); known != loops_.end()) return known->second;
    Loop loop;
    const std::vector<Factor> factors = factors_to_pack(*region->body, region.get());
    for (const Factor& factor : factors) {
      const Value& value = region->body->values[index(factor.id)];
      if (value.node < 0 && value.index < region->num_consts)
        loop.wanted.push_back({value.index, factor.side, factor.trans});
    }
    const GraphPtr body = rewrite(*region->body, factors, region->num_consts, loop.wanted);
    if (loop.wanted.empty()) {
      loop.region = with_body(region, body);
    } else {
      auto changed = std::make_shared<Region>(*region);
      changed->body = body;
      changed->num_consts += static_cast<int>(loop.wanted.size());
      loop.region = changed;
    }
    return loops_.emplace(region, std::move(loop)).first->second;
  }

  // A body that is being built, and its packed factors: kNone until they are made.
  struct Draft {
    Builder builder;
    Ids map;
    std::map<Factor, Id> packed;
  };

  // A body of a loop with so many constants, `factors` packed; those that are `wanted` come so.
  GraphPtr rewrite(const Graph& graph, const std::vector<Factor>& factors, int num_consts,
                   std::span<const Wanted> wanted) {
    Draft draft;
    draft.map.assign(graph.values.size(), kNone);
    for (const Factor& factor : factors) draft.packed[factor] = kNone;
    declare(draft, graph, num_consts, wanted);
    for (const Node& node : graph.nodes) {
      draft.builder.set_label(node.label);
      const Ids out = emit(draft, graph, node);
      for (std::size_t k = 0; k < out.size(); ++k) draft.map[index(node.out[k])] = out[k];
    }
    return draft.builder.finish(mapped(draft, graph.outputs));
  }

  // The body's inputs, and behind its constants those that its loop now gives it packed.
  static void declare(Draft& draft, const Graph& graph, int num_consts,
                      std::span<const Wanted> wanted) {
    const auto declare_input = [&](Id id) {
      const Value& value = graph.values[index(id)];
      draft.map[index(id)] = draft.builder.input(value.type, value.name);
    };
    const auto first_other = graph.inputs.begin() + num_consts;
    std::for_each(graph.inputs.begin(), first_other, declare_input);
    for (const Wanted& w : wanted) {
      const Value& matrix = graph.values[index(graph.inputs[index(w.constant)])];
      const Type type = op::k_pack_bf16.infer({&matrix.type, 1}, pack_attrs(w.side, w.trans));
      draft.packed[w.of(graph.inputs[index(w.constant)])] = draft.builder.input(type, matrix.name);
    }
    std::for_each(first_other, graph.inputs.end(), declare_input);
  }

  // The packed factor, made where it is read first; kNone if it is not to be packed.
  static Id packed(Draft& draft, const Factor& factor) {
    const auto found = draft.packed.find(factor);
    if (found == draft.packed.end()) return kNone;
    if (found->second == kNone) {
      const Id in[] = {draft.map[index(factor.id)]};
      found->second =
          draft.builder.emit(op::k_pack_bf16, in, pack_attrs(factor.side, factor.trans));
    }
    return found->second;
  }

  static Ids mapped(const Draft& draft, const Ids& ids) {
    Ids result;
    for (const Id id : ids) result.push_back(draft.map[index(id)]);
    return result;
  }

  Ids emit(Draft& draft, const Graph& graph, const Node& node) {
    Builder& b = draft.builder;
    if (is_in_bf16(graph, node)) return emit_product(draft, node);
    Ids in = mapped(draft, node.in);
    if (!node.attrs.region) return {b.emit(*node.op, in, node.attrs)};
    if (node.op != &op::k_scan) return b.emit_region(*node.op, in, node.attrs.region);
    const Loop& loop = loop_of(node.attrs.region);
    Ids more;
    for (const Wanted& w : loop.wanted)
      more.push_back(packed(draft, w.of(node.in[index(w.constant)])));
    in.insert(in.begin() + node.attrs.region->num_consts, more.begin(), more.end());
    return b.emit_region(op::k_scan, in, loop.region);
  }

  static Ids emit_product(Draft& draft, const Node& node) {
    Ids in = mapped(draft, node.in);
    Attrs attrs{.axes = pair_flags(node)};
    bool any = false;
    const std::vector<Factor> factors = factors_of(node);
    for (std::size_t i = 0; i < factors.size(); ++i) {
      const Id factor = packed(draft, factors[i]);
      if (factor == kNone) continue;
      const bool left = factors[i].side == Side::left;
      in[i] = factor;
      std::int64_t& flags = attrs.axes[i / 2];
      flags &= ~(left ? kPairTransA : kPairTransB);
      flags |= left ? kPairPackedA : kPairPackedB;
      any = true;
    }
    return {any ? draft.builder.emit(op::k_dot_sum, in, std::move(attrs))
                : draft.builder.emit(*node.op, in, node.attrs)};
  }

  std::unordered_map<RegionPtr, Loop> loops_;
};

}  // namespace

GraphPtr pack_factors(const Graph& graph) { return PackFactors().run(graph); }

}  // namespace mixflow
