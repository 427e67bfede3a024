#include "ops/fused_lower.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <utility>

#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

using NodeIndices = std::span<const std::int32_t>;

bool is_reduction(const Node& node) {
  return node.op->tile == TileOp::sum || node.op->tile == TileOp::max_reduce;
}

// full, iota and broadcast: they have no axes of their own, but those that each use gives them.
bool is_free(const Node& node) {
  return node.op->tile == TileOp::full || node.op->tile == TileOp::iota ||
         node.op->tile == TileOp::broadcast;
}

// The axes of the space that axes `positions` of a value over `axes` are.
AxisMask select_axes(AxisMask axes, const Shape& positions) {
  AxisMask selected = 0;
  std::int64_t position = 0;
  for (int k = 0; k < kMaxFusedRank; ++k) {
    if (((axes >> k) & 1u) == 0) continue;
    if (std::ranges::find(positions, position) != positions.end()) selected |= AxisMask{1} << k;
    ++position;
  }
  return selected;
}

// A map of few entries, by key in one piece of memory.
template <class K, class V>
class SmallMap {
 public:
  using Entry = std::pair<K, V>;
  V* find(const K& key) {
    const auto at = lower_bound(key);
    return at != entries_.end() && at->first == key ? &at->second : nullptr;
  }
  const V* find(const K& key) const { return const_cast<SmallMap*>(this)->find(key); }
  // What is there already stays.
  void emplace(const K& key, const V& value) {
    const auto at = lower_bound(key);
    if (at == entries_.end() || at->first != key) entries_.insert(at, {key, value});
  }

 private:
  typename std::vector<Entry>::iterator lower_bound(const K& key) {
    return std::ranges::lower_bound(entries_, key, {}, &Entry::first);
  }
  std::vector<Entry> entries_;
};

// Builds the spec from the outputs down: which axes an output has decides which its operands have.
class SpecBuilder {
 public:
  SpecBuilder(const Graph& graph, NodeIndices nodes, std::span<const Id> inputs)
      : graph_(graph), nodes_(nodes), inputs_(inputs) {}

  std::optional<FusedSpec> build(std::span<const Id> outputs) {
    if (!find_space() || !find_axes()) return std::nullopt;
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      input_of_.emplace(inputs_[i], static_cast<int>(i));
    spec_.num_inputs = static_cast<std::int32_t>(inputs_.size());
    for (const Id id : outputs) {
      if (!add_output(id)) return std::nullopt;
    }
    for (const std::int32_t n : nodes_) {
      const Node& node = graph_.nodes[index(n)];
      // Sums that only serve as outputs are no instructions; others must be computable.
      if (!is_free(node) && !is_reduction(node) && axes_of(node.out[0]) == kUnknown)
        return std::nullopt;
    }
    if (!keeps_reversed_together()) return std::nullopt;
    number_values();
    return std::move(spec_);
  }

 private:
  static constexpr AxisMask kUnknown = ~AxisMask{0};
  // Values get their final numbers last: operands have the first ones.
  struct Key {
    Id id;
    AxisMask axes;
    auto operator<=>(const Key&) const = default;
  };

  AxisMask all() const { return (AxisMask{1} << spec_.space.size()) - 1; }
  AxisMask outer() const { return all() >> 1; }
  const Shape& shape(Id id) const { return graph_.type(id).shape; }

  bool has_axes(Id id, AxisMask axes) const {
    std::size_t position = 0;
    for (std::size_t k = 0; k < spec_.space.size(); ++k) {
      if (((axes >> k) & 1u) == 0) continue;
      if (position == shape(id).size() || shape(id)[position] != spec_.space[k]) return false;
      ++position;
    }
    return position == shape(id).size();
  }

  bool find_space() {
    const Shape* space = nullptr;
    const auto look_at = [&](Id id) {
      if (space == nullptr || shape(id).size() > space->size()) space = &shape(id);
    };
    for (const std::int32_t n : nodes_) {
      const Node& node = graph_.nodes[index(n)];
      look_at(node.out[0]);
      for (const Id id : node.in) look_at(id);
    }
    if (space == nullptr || space->size() > kMaxFusedRank) return false;
    spec_.space = *space;
    return true;
  }

  // Axes of the nodes' results, from their neighbours, until nothing new is learnt. Free nodes get
  // theirs from each use instead. A row that nothing in the cluster links to the rest (dce may have
  // dropped the link) is one over all axes but the last.
  bool find_axes() {
    bool consistent = true, changed = true;
    const auto set = [&](Id id, AxisMask axes) {
      if (axes == kUnknown) return;
      if (!has_axes(id, axes)) {
        consistent = false;
        return;
      }
      AxisMask* known = axes_.find(id);
      if (known == nullptr) return;  // from outside, or free
      if (*known == axes) return;
      consistent &= *known == kUnknown;
      *known = axes;
      changed = true;
    };
    const auto full_rank = [&](Id id) { return shape(id).size() == spec_.space.size(); };
    for (const std::int32_t n : nodes_) {
      const Node& node = graph_.nodes[index(n)];
      if (!is_free(node)) axes_.emplace(node.out[0], kUnknown);
    }
    while (changed && consistent) {
      changed = false;
      for (const std::int32_t n : nodes_) {
        const Node& node = graph_.nodes[index(n)];
        const Id y = node.out[0];
        if (full_rank(y)) set(y, all());
        if (is_reduction(node)) {
          if (full_rank(node.in[0])) set(y, all() & ~select_axes(all(), node.attrs.axes));
        } else if (node.op->tile == TileOp::broadcast) {
          const AxisMask axes = full_rank(y) ? all() : axes_of(y);
          if (axes != kUnknown) set(node.in[0], axes & ~select_axes(axes, node.attrs.axes));
        } else if (!is_free(node)) {
          for (const Id x : node.in) {
            set(x, axes_of(y));
            set(y, axes_of(x));
          }
          if (shape(y).empty()) set(y, 0);
        }
      }
      for (std::size_t i = 0; !changed && i < nodes_.size(); ++i) {
        const Node& node = graph_.nodes[index(nodes_[i])];
        const Id y = node.out[0];
        const bool unlinked = !is_free(node) && !is_reduction(node) && axes_of(y) == kUnknown;
        if (unlinked && has_axes(y, outer())) set(y, outer());
      }
    }
    return consistent;
  }

  AxisMask axes_of(Id id) const {
    const AxisMask* known = axes_.find(id);
    return known == nullptr ? kUnknown : *known;
  }

  bool is_member(Id id) const {
    const std::int32_t n = graph_.values[index(id)].node;
    return n >= 0 && std::ranges::binary_search(nodes_, n);
  }

  bool add_output(Id id) {
    if (!is_member(id)) return false;
    const Node& node = *graph_.producer(id);
    AxisMask axes = is_free(node) && shape(id).size() == spec_.space.size() ? all() : axes_of(id);
    if (axes == kUnknown) return false;
    const bool reduction = is_reduction(node);
    const bool is_row = axes == outer() && (node.op->tile != TileOp::sum || is_read(id));
    if (reduction && !is_row) {
      if (node.op->tile != TileOp::sum || !are_neighbours(node.attrs.axes)) return false;
      return push_output(node.in[0], all(), {.axes = axes, .sum = true});
    }
    const bool small = axes == 0 && num_elements(spec_.space) != 1 && !reduction;
    if ((axes != all() && axes != outer()) || small) return false;
    return push_output(id, axes, {.axes = axes});
  }

  bool push_output(Id value, AxisMask axes, FusedSpec::Output output) {
    const int slot = value_at(value, axes);
    if (slot < 0) return false;
    output.value = slot;
    spec_.outputs.push_back(output);
    return true;
  }

  bool is_read(Id id) const {
    return std::ranges::any_of(nodes_, [&](std::int32_t n) {
      const std::vector<Id>& in = graph_.nodes[index(n)].in;
      return std::ranges::find(in, id) != in.end();
    });
  }

  static bool are_neighbours(const Shape& axes) {
    for (std::size_t i = 1; i < axes.size(); ++i) {
      if (axes[i] != axes[i - 1] + 1) return false;
    }
    return true;
  }

  // The number of a value that is read over `axes`, -1 if there is no way to have it.
  int value_at(Id id, AxisMask axes) {
    if (!has_axes(id, axes)) return -1;
    if (const int* known = numbers_.find({id, axes})) return *known;
    const int number = is_member(id) ? computed_at(id, axes) : operand_at(id, axes);
    if (number >= 0) numbers_.emplace(Key{id, axes}, number);
    return number;
  }

  int operand_at(Id id, AxisMask axes) {
    const int* input = input_of_.find(id);
    if (input == nullptr) return -1;
    values_.push_back({true, static_cast<int>(spec_.operands.size())});
    spec_.operands.push_back({*input, axes});
    return static_cast<int>(values_.size()) - 1;
  }

  int computed_at(Id id, AxisMask axes) {
    const Node& node = *graph_.producer(id);
    FusedSpec::Instr instr{.op = node.op->tile};
    switch (node.op->tile) {
      case TileOp::broadcast:
        return value_at(node.in[0], axes & ~select_axes(axes, node.attrs.axes));
      case TileOp::full:
        instr.imm = node.attrs.value;
        break;
      case TileOp::iota:
        instr.axis = std::countr_zero(select_axes(axes, node.attrs.axes));
        break;
      case TileOp::sum:
      case TileOp::max_reduce: {
        // A reduction that others read runs over the last axis.
        const AxisMask reduced = select_axes(all(), node.attrs.axes);
        if (shape(node.in[0]).size() != spec_.space.size()) return -1;
        if (axes != outer() || reduced != (all() & ~outer())) return -1;
        instr.a = value_at(node.in[0], all());
        if (instr.a < 0) return -1;
        break;
      }
      case TileOp::reverse:
        if (axes != all() || !is_fusable_reverse(graph_, node)) return -1;
        [[fallthrough]];
      default: {
        const bool computable = axes == all() || axes == outer() || axes == 0;
        if (!computable || axes_of(id) != axes) return -1;
        std::int32_t* const to[] = {&instr.a, &instr.b, &instr.c};
        if (node.in.size() > 3) return -1;
        for (std::size_t k = 0; k < node.in.size(); ++k) {
          *to[k] = value_at(node.in[k], axes);
          if (*to[k] < 0) return -1;
        }
      }
    }
    values_.push_back({false, static_cast<int>(spec_.instrs.size())});
    spec_.instrs.push_back(instr);
    return static_cast<int>(values_.size()) - 1;
  }

  // Nothing tells the last two axes apart where something is reversed along the first of them.
  bool keeps_reversed_together() const {
    const auto any = [&](auto&& is) { return std::ranges::any_of(spec_.instrs, is); };
    if (!any([](const auto& instr) { return instr.op == TileOp::reverse; })) return true;
    const std::size_t rank = spec_.space.size();
    const AxisMask two = all() & ~(all() >> 2);
    const auto together = [&](AxisMask axes) { return (axes & two) == 0 || (axes & two) == two; };
    return std::ranges::all_of(spec_.operands, together, &FusedSpec::Operand::axes) &&
           std::ranges::all_of(spec_.outputs, together, &FusedSpec::Output::axes) &&
           !any([&](const auto& instr) {
             return instr.op == TileOp::sum || instr.op == TileOp::max_reduce ||
                    (instr.op == TileOp::iota && index(instr.axis) + 2 >= rank);
           });
  }

  void number_values() {
    const auto final_number = [&](std::int32_t& value) {
      if (value < 0) return;
      const Slot& slot = values_[index(value)];
      value = slot.index + (slot.is_operand ? 0 : static_cast<std::int32_t>(spec_.operands.size()));
    };
    for (auto& instr : spec_.instrs) {
      final_number(instr.a);
      final_number(instr.b);
      final_number(instr.c);
    }
    for (auto& output : spec_.outputs) final_number(output.value);
  }

  struct Slot {
    bool is_operand;
    int index;
  };

  const Graph& graph_;
  const NodeIndices nodes_;
  const std::span<const Id> inputs_;
  FusedSpec spec_;
  SmallMap<Id, AxisMask> axes_;
  SmallMap<Id, int> input_of_;
  SmallMap<Key, int> numbers_;
  std::vector<Slot> values_;
};

// One elementwise op on integers, through its reference: index arithmetic is too small to matter.
class IntegerKernel final : public Kernel {
 public:
  explicit IntegerKernel(const LowerCall& call)
      : Kernel(static_cast<std::int64_t>((call.in.size() + 1) * sizeof(double)) *
               call.out[0].elements()),
        body_(call.attrs.region->body),
        elements_(index(call.out[0].elements())) {
    MIXFLOW_CHECK(body_->nodes.size() == 1, "integer ops are fused one by one");
    const Node& node = body_->nodes[0];
    for (const Id id : node.in) types_.push_back(body_->type(id));
  }

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    if (out[0] == nullptr) return;
    const Node& node = body_->nodes[0];
    auto* wide = reinterpret_cast<double*>(scratch);
    std::array<const double*, 3> operands{};
    for (std::size_t k = 0; k < body_->inputs.size(); ++k) {
      const auto* from = reinterpret_cast<const std::int32_t*>(in[k]);
      std::copy_n(from, elements_, wide + k * elements_);
    }
    for (std::size_t k = 0; k < node.in.size(); ++k) {
      operands[k] = wide + index(body_->values[index(node.in[k])].index) * elements_;
    }
    double* result = wide + body_->inputs.size() * elements_;
    node.op->ref({.in_types = types_,
                  .in = {operands.data(), node.in.size()},
                  .out_type = body_->type(node.out[0]),
                  .out = result,
                  .attrs = node.attrs});
    auto* to = reinterpret_cast<std::int32_t*>(out[0]);
    for (std::size_t i = 0; i < elements_; ++i) to[i] = static_cast<std::int32_t>(result[i]);
  }

 private:
  const GraphPtr body_;
  const std::size_t elements_;
  std::vector<Type> types_;
};

FusedSpec spec_of_body(const Graph& body) {
  std::vector<std::int32_t> nodes(body.nodes.size());
  std::iota(nodes.begin(), nodes.end(), 0);
  std::optional<FusedSpec> spec = fused_spec(body, nodes, body.inputs, body.outputs);
  MIXFLOW_CHECK(spec.has_value(), "the body of a fused node is not one cluster");
  return *std::move(spec);
}

}  // namespace

bool is_fusable_reverse(const Graph& graph, const Node& node) {
  const Type& type = graph.type(node.out[0]);
  if (node.op->tile != TileOp::reverse || type.rank() < 2) return false;
  const std::size_t rank = type.shape.size();
  const std::int64_t together = type.shape[rank - 2] * type.shape[rank - 1];
  return node.attrs.axes == Shape{type.rank() - 2} && together > 0 && together <= kMostReversed;
}

std::optional<FusedSpec> fused_spec(const Graph& graph, NodeIndices nodes,
                                    std::span<const Id> inputs, std::span<const Id> outputs) {
  return SpecBuilder(graph, nodes, inputs).build(outputs);
}

std::unique_ptr<Kernel> lower_fused(const LowerCall& call) {
  if (call.out[0].dtype == DType::i32) return std::make_unique<IntegerKernel>(call);
  FusedSpec spec = spec_of_body(*call.attrs.region->body);
  spec.threads = call.threads;
  return make_fused(spec);
}

std::vector<std::uint32_t> fused_may_overwrite(const Node& node) {
  const Graph& body = *node.attrs.region->body;
  if (body.type(body.outputs[0]).dtype == DType::i32) return {0};
  return fused_in_place(spec_of_body(body));
}

}  // namespace mixflow
