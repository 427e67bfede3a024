#include "transform/merge_dots.h"

#include <algorithm>
#include <vector>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/rebuild.h"
#include "util/index.h"

namespace mixflow {
namespace {

// Of one dot_sum. Straight code of many steps adds up any number, and kernels take 64 operands.
constexpr std::size_t kMostPairs = 24;

// A tree of additions, flattened: its products (of one type) in order, the term they are
// accumulated onto, and the rest. Ids are those of the graph being rewritten.
struct Sum {
  std::vector<const Node*> products;  // dot and dot_sum nodes
  Id z = kNone;
  Ids rest;
  // The node after which all operands and z exist. A sum is made there and not where the last of
  // its additions stood: its operands, activations often, need not wait for the end of the graph.
  std::size_t ready_after = 0;
};

// How good a term is as z: the accumulator whose successor the sum is, first of all.
enum class Fit : std::uint8_t { none, shared_dot, loop_result, input, own_carry };

// The sums of one body.
class Sums {
 public:
  // `region`: the scan whose body `graph` is, or null.
  Sums(const Graph& graph, const Region* region)
      : graph_(graph), region_(region), uses_(graph.values.size(), 0) {
    for (const Node& node : graph.nodes) {
      for (const Id id : node.in) ++uses_[index(id)];
    }
    for (const Id id : graph.outputs) ++uses_[index(id)];
    // An addition read once, by an addition, is part of that one's tree.
    inner_.assign(graph.values.size(), false);
    merged_.assign(graph.values.size(), false);
    made_at_.resize(graph.values.size());
    for (std::size_t v = 0; v < made_at_.size(); ++v) {
      made_at_[v] = static_cast<std::size_t>(std::max(graph.values[v].node, 0));
    }
    for (const Node& node : graph.nodes) {
      if (node.op != &op::k_add) continue;
      for (const Id id : node.in) {
        const Node* made = graph.producer(id);
        if (made != nullptr && made->op == &op::k_add && uses_[index(id)] == 1)
          inner_[index(id)] = true;
      }
    }
  }

  // By node: the sum that it is the root of; no products: nothing to merge.
  std::vector<Sum> all() {
    std::vector<Sum> sums;
    for (const Node& node : graph_.nodes) sums.push_back(at(node));
    return sums;
  }

 private:
  // Nodes are asked for in order.
  Sum at(const Node& node) {
    if (node.op != &op::k_add || inner_[index(node.out[0])]) return {};
    Ids terms;
    flatten(node, terms);
    Sum sum;
    Fit best = Fit::none;
    std::size_t pairs = 0;
    for (const Id term : terms) {
      const Node* product = product_of(term);
      if (product != nullptr && (sum.products.empty() || same_type(*product, *sum.products[0]))) {
        sum.products.push_back(product);
        pairs += product->in.size() / 2;
        continue;
      }
      sum.rest.push_back(term);
      if (const Fit fit = fit_of(term, node.out[0]); fit > best) {
        best = fit;
        sum.z = term;
      }
    }
    // A dot_sum among them may bring its own z; only one can be the destination.
    const bool has_z =
        std::ranges::any_of(sum.products, [](const Node* p) { return p->in.size() % 2 == 1; });
    if (pairs == 0 || (pairs == 1 && sum.z == kNone) || (sum.products.size() == 1 && has_z))
      return {};
    if (sum.z != kNone) sum.rest.erase(std::ranges::find(sum.rest, sum.z));
    for (const Node* product : sum.products) {
      for (const Id id : product->in) wait_for(id, sum);
    }
    if (sum.z != kNone) wait_for(sum.z, sum);
    if (sum.rest.empty()) {
      merged_[index(node.out[0])] = true;
      made_at_[index(node.out[0])] = sum.ready_after;
    }
    return sum;
  }

  void wait_for(Id id, Sum& sum) const {
    sum.ready_after = std::max(sum.ready_after, made_at_[index(id)]);
  }

  void flatten(const Node& node, Ids& terms) const {
    for (const Id id : node.in) {
      if (inner_[index(id)]) {
        flatten(*graph_.producer(id), terms);
      } else {
        terms.push_back(id);
      }
    }
  }

  // The product that nothing but `term`'s one reader needs, or null.
  const Node* product_of(Id term) const {
    const Node* node = graph_.producer(term);
    if (node == nullptr || uses_[index(term)] != 1) return nullptr;
    if (node->op == &op::k_reshape) {
      term = node->in[0];
      node = graph_.producer(term);
      if (node == nullptr || uses_[index(term)] != 1) return nullptr;
    }
    return node->op == &op::k_dot || node->op == &op::k_dot_sum ? node : nullptr;
  }

  bool same_type(const Node& a, const Node& b) const {
    return graph_.type(a.out[0]) == graph_.type(b.out[0]);
  }

  Fit fit_of(Id term, Id result) const {
    const Value& value = graph_.values[index(term)];
    if (value.node < 0) return is_own_carry(value.index, result) ? Fit::own_carry : Fit::input;
    const Node& made = graph_.nodes[static_cast<std::size_t>(value.node)];
    if (region_of(made) != nullptr && made.op != &op::k_fused) return Fit::loop_result;
    const bool dot = made.op == &op::k_dot || made.op == &op::k_dot_sum || merged_[index(term)];
    return dot ? Fit::shared_dot : Fit::none;
  }

  bool is_own_carry(std::int32_t input, Id result) const {
    if (region_ == nullptr) return false;
    const std::int32_t carry = input - region_->num_consts;
    return 0 <= carry && carry < region_->num_carry &&
           graph_.outputs[static_cast<std::size_t>(carry)] == result;
  }

  const Graph& graph_;
  const Region* region_;
  std::vector<int> uses_;
  std::vector<bool> inner_;
  std::vector<bool> merged_;          // additions that became a dot_sum
  std::vector<std::size_t> made_at_;  // by value: the node after which it exists
};

class MergeDots {
 public:
  GraphPtr run(const Graph& graph, const Region* region) {
    Builder b;
    Ids map(graph.values.size(), kNone);
    const auto mapped = [&](const Ids& ids) {
      Ids result;
      for (const Id id : ids) result.push_back(map[index(id)]);
      return result;
    };
    const Ids inputs = declare_inputs(b, graph);
    for (std::size_t i = 0; i < inputs.size(); ++i) map[index(graph.inputs[i])] = inputs[i];
    const std::vector<Sum> sums = Sums(graph, region).all();
    std::vector<std::vector<std::size_t>> ready(
        graph.nodes.size());  // sums, by the node after which
    for (std::size_t i = 0; i < sums.size(); ++i) {
      if (!sums[i].products.empty()) ready[sums[i].ready_after].push_back(i);
    }
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
      const Node& node = graph.nodes[i];
      b.set_label(node.label);
      Ids out;
      if (!sums[i].products.empty()) {
        out = {map[index(node.out[0])]};
        for (const Id id : sums[i].rest) out[0] = b.add(out[0], map[index(id)]);
      } else if (node.attrs.region) {
        out = b.emit_region(*node.op, mapped(node.in), merged(node));
      } else {
        out = {b.emit(*node.op, mapped(node.in), node.attrs)};
      }
      for (std::size_t k = 0; k < out.size(); ++k) map[index(node.out[k])] = out[k];
      for (const std::size_t root : ready[i]) {
        const Id sum = graph.nodes[root].out[0];
        b.set_label(graph.nodes[root].label);
        map[index(sum)] = b.reshape(emit(b, graph, sums[root], mapped), graph.type(sum).shape);
      }
    }
    return b.finish(mapped(graph.outputs));
  }

 private:
  // The products and z, in the products' type.
  template <class Mapped>
  Id emit(Builder& b, const Graph& graph, const Sum& sum, const Mapped& mapped) {
    Ids in;
    Ids more;  // the z of dot_sums among the products, beyond the one destination
    Attrs attrs;
    for (const Node* product : sum.products) {
      const Ids from = mapped(product->in);
      const auto pairs = static_cast<std::ptrdiff_t>(from.size() / 2 * 2);
      in.insert(in.end(), from.begin(), from.begin() + pairs);
      more.insert(more.end(), from.begin() + pairs, from.end());
      if (product->op == &op::k_dot) {
        attrs.axes.push_back((product->attrs.trans_a ? 1 : 0) + (product->attrs.trans_b ? 2 : 0));
      } else {
        attrs.axes.insert(attrs.axes.end(), product->attrs.axes.begin(), product->attrs.axes.end());
      }
    }
    Id result = kNone;
    if (sum.z != kNone) {
      result = b.reshape(mapped({sum.z})[0], graph.type(sum.products[0]->out[0]).shape);
    } else if (!more.empty()) {
      result = more.back();
      more.pop_back();
    }
    for (std::size_t first = 0; first < attrs.axes.size(); first += kMostPairs) {
      const std::size_t last = std::min(first + kMostPairs, attrs.axes.size());
      const auto part = [&](const auto& of, std::size_t each) {
        return std::vector(of.begin() + static_cast<std::ptrdiff_t>(first * each),
                           of.begin() + static_cast<std::ptrdiff_t>(last * each));
      };
      Ids operands = part(in, 2);
      if (result != kNone) operands.push_back(result);
      result = b.emit(op::k_dot_sum, operands, {.axes = part(attrs.axes, 1)});
    }
    for (const Id id : more) result = b.add(result, id);
    return result;
  }

  RegionPtr merged(const Node& node) {
    const RegionPtr& old = node.attrs.region;
    return regions_.get(old, [&] {
      return with_body(old, run(*old->body, node.op == &op::k_scan ? old.get() : nullptr));
    });
  }

  RegionCache regions_;
};

}  // namespace

GraphPtr merge_dots(const Graph& graph) { return MergeDots().run(graph, nullptr); }

}  // namespace mixflow
