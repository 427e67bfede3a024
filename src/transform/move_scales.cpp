#include "transform/move_scales.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/rebuild.h"
#include "util/index.h"

namespace mixflow {
namespace {

// How many times smaller what is multiplied instead has to be.
constexpr std::int64_t kSmaller = 2;

// A value as constant · scalars.. · base.
struct Scaled {
  Id base;
  double constant = 1;
  Ids scalars;    // of rank 0
  bool is_alone;  // nothing else reads base, or what lies between it and the value

  bool has_scale() const { return constant != 1 || !scalars.empty(); }
};

// What moves in one body.
class Scales {
 public:
  explicit Scales(const Graph& graph)
      : graph_(graph), readers_(graph.values.size()), accumulated_(graph.values.size(), false) {
    for (const Node& node : graph.nodes) {
      for (const Id id : node.in) readers_[index(id)].push_back(&node);
    }
    for (const Id id : graph.outputs) readers_[index(id)].push_back(nullptr);
  }

  // The factor of a product without the scale that leaves it, which is 1 where it stays.
  Scaled factor(Id id) const {
    const Scaled scaled = unscaled(id), stays{.base = id, .is_alone = false};
    if (!scaled.has_scale() || !is_stored(scaled.base)) return stays;
    std::int64_t others = 0;  // elements that are multiplied instead
    for (const Node* reader : readers_[index(id)]) {
      if (reader == nullptr || reader->op != &op::k_dot) return stays;
      others += elements(reader->in[reader->in[0] == id ? 1 : 0]);
    }
    return kSmaller * others <= elements(id) ? scaled : stays;
  }

  // The term of a sum as a product and its scale, negative where it is subtracted; base kNone where
  // it stays as it is.
  Scaled term(const Node& sum, std::size_t i) const {
    const Scaled stays{.base = kNone, .is_alone = false};
    const bool subtracted = sum.op == &op::k_sub;
    if (subtracted && i == 0) return stays;
    Scaled scaled = unscaled(sum.in[i]);
    if (subtracted) scaled.constant = -scaled.constant;
    const Node* product = graph_.producer(scaled.base);
    const bool moves = product != nullptr && product->op == &op::k_dot && scaled.is_alone &&
                       scaled.has_scale() && is_stored(sum.in[1 - i]) &&
                       std::ranges::any_of(product->in, [&](Id id) {
                         return kSmaller * elements(id) <= elements(scaled.base);
                       });
    return moves ? scaled : stays;
  }

  // A product is now accumulated onto the sum's other term.
  void set_accumulated(Id sum) { accumulated_[index(sum)] = true; }

 private:
  Scaled unscaled(Id id) const {
    Scaled result{.base = id, .is_alone = readers_[index(id)].size() == 1};
    while (const Node* node = graph_.producer(result.base)) {
      if (node->op == &op::k_neg) {
        result.constant = -result.constant;
        result.base = node->in[0];
      } else if (node->op == &op::k_named) {
        result.base = node->in[0];
      } else if (node->op == &op::k_mul && take_scalar(node->in[0], result)) {
        result.base = node->in[1];
      } else if (node->op == &op::k_mul && take_scalar(node->in[1], result)) {
        result.base = node->in[0];
      } else {
        break;
      }
      result.is_alone = result.is_alone && readers_[index(result.base)].size() == 1;
    }
    return result;
  }

  // Whether all elements are one number, which the scale takes then.
  bool take_scalar(Id id, Scaled& scaled) const {
    const Node* node = graph_.producer(id);
    if (node == nullptr) return false;
    if (node->op == &op::k_full) {
      scaled.constant *= node->attrs.value;
      return true;
    }
    if (node->op != &op::k_broadcast || graph_.type(node->in[0]).rank() != 0) return false;
    scaled.scalars.push_back(node->in[0]);
    return true;
  }

  std::int64_t elements(Id id) const { return graph_.type(id).elements(); }

  // Whether a value is in memory, whoever reads it: not a link of an elementwise chain.
  bool is_stored(Id id) const {
    const Node* node = graph_.producer(id);
    return node == nullptr || node->attrs.region || node->op == &op::k_dot ||
           accumulated_[index(id)];
  }

  const Graph& graph_;
  std::vector<std::vector<const Node*>> readers_;  // null: the body's outputs
  std::vector<bool> accumulated_;
};

class MoveScales {
 public:
  GraphPtr run(const Graph& graph) {
    Scales scales(graph);
    Builder b;
    Ids map(graph.values.size(), kNone);
    const auto mapped = [&](const Ids& ids) {
      Ids result;
      for (const Id id : ids) result.push_back(map[index(id)]);
      return result;
    };
    // The product times a scale, beside those that leave its factors.
    const auto multiply = [&](const Node& product, const Scaled& result) {
      Ids factors;
      double constant = result.constant;
      Ids scalars = result.scalars;
      for (const Id id : product.in) {
        const Scaled factor = scales.factor(id);
        factors.push_back(map[index(factor.base)]);
        constant *= factor.constant;
        scalars.insert(scalars.end(), factor.scalars.begin(), factor.scalars.end());
      }
      const bool second = b.type(factors[1]).elements() < b.type(factors[0]).elements();
      Id& smaller = factors[second ? 1 : 0];
      smaller = constant == -1 ? b.neg(smaller) : b.mul(smaller, constant);
      for (const Id scalar : scalars) smaller = b.mul(smaller, map[index(scalar)]);
      return b.emit(op::k_dot, factors, product.attrs);
    };
    const Ids inputs = declare_inputs(b, graph);
    for (std::size_t i = 0; i < inputs.size(); ++i) map[index(graph.inputs[i])] = inputs[i];
    for (const Node& node : graph.nodes) {
      b.set_label(node.label);
      Ids out;
      if (node.attrs.region) {
        out = b.emit_region(*node.op, mapped(node.in), with_moved(node.attrs.region));
      } else if (node.op == &op::k_dot) {
        out = {multiply(node, {.base = kNone, .is_alone = false})};
      } else {
        out = {kNone};
        if (node.op == &op::k_add || node.op == &op::k_sub) {
          for (std::size_t i = 0; i < 2 && out[0] == kNone; ++i) {
            const Scaled term = scales.term(node, i);
            if (term.base == kNone) continue;
            const Id product = multiply(*graph.producer(term.base), term);
            out[0] = b.add(map[index(node.in[1 - i])], product);
            scales.set_accumulated(node.out[0]);
          }
        }
        if (out[0] == kNone) out[0] = b.emit(*node.op, mapped(node.in), node.attrs);
      }
      for (std::size_t k = 0; k < out.size(); ++k) map[index(node.out[k])] = out[k];
    }
    return b.finish(mapped(graph.outputs));
  }

 private:
  RegionPtr with_moved(const RegionPtr& old) {
    return regions_.get(old, [&] { return with_body(old, run(*old->body)); });
  }

  RegionCache regions_;
};

}  // namespace

GraphPtr move_scales(const Graph& graph) { return MoveScales().run(graph); }

}  // namespace mixflow
