// Dead code in loops is what the transforms leave behind on purpose (a joint forward and backward
// body, tangents of everything), so this pass decides what second order costs. A structural node is
// trimmed in three steps: outputs that need no computation are redirected, liveness tells what an
// iteration must still compute and read, and the body is rebuilt with only that. The result depends
// on the region, the used outputs and which inputs are equal or constant; it is remembered under
// these, so that nodes that shared a region share the trimmed one.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <tuple>

#include "ops/op_list.h"
#include "transform/liveness.h"
#include "transform/rebuild.h"
#include "transform/transform.h"
#include "util/index.h"

namespace mixflow {
namespace {

using RegionPtr = std::shared_ptr<const Region>;

// What a structural node's input is to the body.
enum class Role : std::uint8_t { constant, carry, init, theta, x };

struct Slot {
  Role role;
  int body;  // which input of the body; -1: a sum's init, which the body does not see
};

// What is known of an input outside the node.
struct Binding {
  Role role;
  int same_as;  // the first input with the same value and role
  bool full;    // a constant, to be made inside the body
  double value;
  friend auto operator<=>(const Binding&, const Binding&) = default;
};

// Where an output of the old node comes from now.
struct Origin {
  enum class Kind : std::uint8_t { dead, result, input, broadcast, full };
  Kind kind = Kind::dead;
  int index =
      0;  // result: of the new node; input, broadcast along a new leading axis: of the old node
  double value = 0;
};

struct Trimmed {
  RegionPtr region;         // null: no result is left to compute
  std::vector<int> inputs;  // the new node's inputs, as positions in the old node's
  std::vector<Origin> outputs;
};

bool is_invariant(const Region& region, std::size_t k) {
  return region.body->outputs[k] == region.body->inputs[index(region.num_consts) + k];
}

std::vector<Slot> slots_of(const OpDef& op, const Region& region, const Mask& used) {
  std::vector<Slot> slots;
  const auto add = [&](int count, auto role_of) {
    for (int i = 0; i < count; ++i) slots.push_back({role_of(index(i)), -1});
  };
  const auto always = [](Role role) { return [role](std::size_t) { return role; }; };
  if (&op == &op::k_grad) {
    add(region.num_carry,
        [&](std::size_t k) { return used[1 + k] ? Role::theta : Role::constant; });
    add(region.num_xs, always(Role::constant));
  } else if (&op == &op::k_fused) {
    add(static_cast<int>(region.body->inputs.size()), always(Role::constant));
  } else {
    add(region.num_consts, always(Role::constant));
    add(region.num_carry, [&](std::size_t k) {
      if (&op == &op::k_map) return Role::init;
      return is_invariant(region, k) ? Role::constant : Role::carry;
    });
    add(region.num_xs, always(Role::x));
  }
  int next = 0;
  for (Slot& slot : slots) {
    if (slot.role != Role::init) slot.body = next++;
  }
  return slots;
}

class Dce {
 public:
  GraphPtr run(const Graph& graph) {
    liveness_ = {};  // it knows regions by address
    Builder b;
    Ids map(graph.values.size(), kNone);
    const Ids inputs = declare_inputs(b, graph);
    for (std::size_t i = 0; i < inputs.size(); ++i) map[index(graph.inputs[i])] = inputs[i];
    emit_live(b, graph, map, Mask(graph.outputs.size(), true));
    Ids outputs;
    for (Id id : graph.outputs) outputs.push_back(map[index(id)]);
    return b.finish(std::move(outputs));
  }

 private:
  // Appends what the outputs in `used` need; `map` holds the inputs and takes the rest.
  void emit_live(Builder& b, const Graph& graph, Ids& map, const Mask& used) {
    const Mask live = liveness_.values(graph, used);
    Ids in;
    for (const Node& node : graph.nodes) {
      const auto is_live = [&](Id id) { return live[index(id)]; };
      if (std::ranges::none_of(node.out, is_live)) continue;
      in.clear();
      for (Id id : node.in) in.push_back(map[index(id)]);
      b.set_label(node.label);
      if (!node.attrs.region) {
        map[index(node.out[0])] = b.emit(*node.op, in, node.attrs);
        continue;
      }
      const Ids out = emit_trimmed(b, graph, node, in, pick(live, node.out));
      for (std::size_t i = 0; i < out.size(); ++i) map[index(node.out[i])] = out[i];
    }
  }

  // Inputs that are not read and outputs that are not used may be kNone.
  Ids emit_trimmed(Builder& b, const Graph& graph, const Node& node, Ids in, const Mask& used) {
    if (node.op == &op::k_grad && std::find(used.begin() + 1, used.end(), true) == used.end()) {
      return {emit_loss(b, *node.attrs.region->body, in)};
    }
    std::vector<Slot> slots = slots_of(*node.op, *node.attrs.region, used);
    for (std::size_t p = 0; p < in.size(); ++p) {
      if (slots[p].role != Role::x || in[p] == kNone) continue;
      const Id slice = repeated_slice(b, in[p]);
      if (slice == kNone) continue;
      in[p] = slice;
      slots[p].role = Role::constant;
    }
    const Trimmed& trimmed = trim(b, *node.op, node.attrs.region, slots, in, used);
    Ids results;
    if (trimmed.region) {
      Ids args;
      for (int position : trimmed.inputs) args.push_back(in[index(position)]);
      results = b.emit_region(*node.op, args, trimmed.region);
    }
    Ids out;
    for (std::size_t i = 0; i < node.out.size(); ++i) {
      const Origin& source = trimmed.outputs[i];
      const Type& type = graph.type(node.out[i]);
      switch (source.kind) {
        case Origin::Kind::dead:
          out.push_back(kNone);
          break;
        case Origin::Kind::result:
          out.push_back(results[index(source.index)]);
          break;
        case Origin::Kind::input:
          out.push_back(in[index(source.index)]);
          break;
        case Origin::Kind::broadcast:
          out.push_back(b.broadcast(in[index(source.index)], {0}, type.shape));
          break;
        case Origin::Kind::full:
          out.push_back(b.full(source.value, type.dtype, type.shape));
          break;
      }
    }
    return out;
  }

  // A stack that repeats one slice along its leading axis: the slice, else kNone. The loop then
  // reads a constant, and the stack (as the cotangent of a mean over ys is one) is never made.
  static Id repeated_slice(Builder& b, Id stack) {
    const Node* node = b.graph().producer(stack);
    if (node == nullptr || node->op != &op::k_broadcast || node->attrs.axes[0] != 0) return kNone;
    const Id x = node->in[0];
    Shape axes(node->attrs.axes.begin() + 1, node->attrs.axes.end());
    for (std::int64_t& axis : axes) --axis;
    return b.broadcast(x, std::move(axes), sliced(b.type(stack)).shape);
  }

  // A grad of which only the loss is used is the loss.
  Id emit_loss(Builder& b, const Graph& loss, const Ids& in) {
    Ids map(loss.values.size(), kNone);
    for (std::size_t i = 0; i < in.size(); ++i) map[index(loss.inputs[i])] = in[i];
    const std::string label = b.label();
    emit_live(b, loss, map, {true});
    b.set_label(label);
    return map[index(loss.outputs[0])];
  }

  const Trimmed& trim(const Builder& b, const OpDef& op, const RegionPtr& region,
                      const std::vector<Slot>& slots, const Ids& in, const Mask& used) {
    std::vector<Binding> bindings;
    for (std::size_t p = 0; p < in.size(); ++p) {
      Binding binding{slots[p].role, static_cast<int>(p), false, 0};
      const bool free_to_bind = slots[p].role == Role::constant || slots[p].role == Role::x;
      if (free_to_bind && in[p] != kNone) {
        std::size_t first = 0;
        while (in[first] != in[p] || slots[first].role != slots[p].role) ++first;
        binding.same_as = static_cast<int>(first);
        const Node* node = b.graph().producer(in[p]);
        if (node != nullptr && node->op == &op::k_full && !std::isnan(node->attrs.value)) {
          binding.full = true;
          binding.value = node->attrs.value;
        }
      }
      bindings.push_back(binding);
    }
    auto key = std::tuple(region, used, bindings);
    if (const auto known = known_.find(key); known != known_.end()) return known->second;
    Trimmed trimmed = build(op, region, slots, bindings, used);
    return known_.emplace(std::move(key), std::move(trimmed)).first->second;
  }

  static Origin origin_of(const OpDef& op, const Region& region, const std::vector<Slot>& slots,
                          std::size_t output) {
    using Kind = Origin::Kind;
    const Origin result{Kind::result, 0, 0};
    if (&op == &op::k_grad) return result;
    const Graph& body = *region.body;
    const Id id = body.outputs[output];
    const Node* node = body.producer(id);
    const bool full = node != nullptr && node->op == &op::k_full;
    if (&op != &op::k_fused && output < index(region.num_carry)) {
      const int position = region.num_consts + static_cast<int>(output);
      const bool stays =
          &op == &op::k_map ? full && node->attrs.value == 0 : is_invariant(region, output);
      return stays ? Origin{Kind::input, position, 0} : result;
    }
    if (full) return {Kind::full, 0, node->attrs.value};
    if (node != nullptr) return result;
    const int input = body.values[index(id)].index;
    const auto slot = std::ranges::find(slots, input, &Slot::body);
    const int position = static_cast<int>(slot - slots.begin());
    if (slot->role == Role::x || &op == &op::k_fused) return {Kind::input, position, 0};
    return slot->role == Role::constant ? Origin{Kind::broadcast, position, 0} : result;
  }

  // One region being trimmed.
  struct Work {
    const OpDef& op;
    const Region& old;
    const std::vector<Slot>& slots;
    const std::vector<Binding>& bindings;
    Mask computed;  // per output of the node: used, and not redirected
    Mask needed;    // per output of the body
    Ids map;        // values of the old body in the new one
  };

  Trimmed build(const OpDef& op, const RegionPtr& old, const std::vector<Slot>& slots,
                const std::vector<Binding>& bindings, const Mask& used) {
    const Graph& body = *old->body;
    Trimmed trimmed;
    Mask computed(used.size(), false);
    for (std::size_t i = 0; i < used.size(); ++i) {
      trimmed.outputs.push_back(used[i] ? origin_of(op, *old, slots, i) : Origin{});
      computed[i] = trimmed.outputs[i].kind == Origin::Kind::result;
    }
    if (!any(computed)) return trimmed;

    Mask needed = liveness_.body_outputs(op, *old, computed);
    for (std::size_t k = 0; &op == &op::k_scan && k < index(old->num_carry); ++k) {
      if (is_invariant(*old, k)) needed[k] = false;
    }
    Work work{op,
              *old,
              slots,
              bindings,
              std::move(computed),
              std::move(needed),
              Ids(body.values.size(), kNone)};
    auto region = std::make_shared<Region>(*old);
    Builder b;
    declare(b, work, trimmed.inputs, *region);
    emit_live(b, body, work.map, work.needed);
    region->body = b.finish(outputs_of(work, trimmed.outputs));
    trimmed.region = is_same(*region, *old, trimmed.inputs) ? old : std::move(region);
    return trimmed;
  }

  // Declares the inputs that stay, group by group, and counts them.
  void declare(Builder& b, Work& work, std::vector<int>& inputs, Region& region) {
    const Graph& body = *work.old.body;
    const Mask reads = liveness_.inputs(body, work.needed);
    Ids declared(work.slots.size(), kNone);
    const auto group = [&](std::initializer_list<Role> roles) {
      int count = 0;
      for (std::size_t p = 0; p < work.slots.size(); ++p) {
        const auto [role, input] = work.slots[p];
        if (std::ranges::find(roles, role) == roles.end()) continue;
        const bool carried = role == Role::carry || role == Role::init;
        if (carried && !work.needed[p - index(work.old.num_consts)]) continue;
        if (!carried && role != Role::theta && !reads[index(input)]) continue;
        if (role != Role::init) {
          const Value& value = body.values[index(body.inputs[index(input)])];
          const Binding& binding = work.bindings[p];
          Id& first = declared[index(binding.same_as)];
          const bool is_new = first == kNone && !binding.full;
          if (binding.full) first = b.full(binding.value, value.type.dtype, value.type.shape);
          if (is_new) first = b.input(value.type, value.name);
          work.map[index(body.inputs[index(input)])] = first;
          if (!is_new) continue;
        }
        inputs.push_back(static_cast<int>(p));
        ++count;
      }
      return count;
    };
    if (&work.op == &op::k_fused) {
      group({Role::constant});
    } else if (&work.op == &op::k_grad) {
      region.num_carry = group({Role::theta});
      region.num_xs = group({Role::constant});
    } else {
      region.num_consts = group({Role::constant});
      region.num_carry = group({Role::carry, Role::init});
      region.num_xs = group({Role::x});
    }
  }

  // The new body's outputs; tells `sources` which of the new node's results they are.
  static Ids outputs_of(const Work& work, std::vector<Origin>& sources) {
    const Graph& body = *work.old.body;
    if (&work.op == &op::k_grad) {
      int next = 0;
      for (std::size_t i = 0; i < sources.size(); ++i) {
        if (i == 0 || work.computed[i]) sources[i].index = next++;
      }
      return {work.map[index(body.outputs[0])]};
    }
    const std::size_t carries = &work.op == &op::k_fused ? 0 : index(work.old.num_carry);
    Ids outputs;
    std::ptrdiff_t first_y = 0;
    for (std::size_t i = 0; i < work.needed.size(); ++i) {
      if (!work.needed[i]) continue;
      const Id id = work.map[index(body.outputs[i])];
      auto place = outputs.end();
      if (i >= carries) place = std::find(outputs.begin() + first_y, outputs.end(), id);
      sources[i].index = static_cast<int>(place - outputs.begin());
      if (place == outputs.end()) outputs.push_back(id);
      if (i < carries) first_y = static_cast<std::ptrdiff_t>(outputs.size());
    }
    return outputs;
  }

  static bool is_same(const Region& now, const Region& old, const std::vector<int>& inputs) {
    return now.num_consts == old.num_consts && now.num_carry == old.num_carry &&
           now.num_xs == old.num_xs && std::ranges::is_sorted(inputs) &&
           same_graph(*now.body, *old.body);
  }

  Liveness liveness_;
  // Holds the regions, so that no later one takes the address of one that is known.
  std::map<std::tuple<RegionPtr, Mask, std::vector<Binding>>, Trimmed> known_;
};

}  // namespace

GraphPtr dce(const Graph& graph) { return Dce().run(graph); }

GraphPtr clean(const Graph& graph) {
  constexpr int kRounds = 3;
  Dce pass;  // what one round has left as it was, the next ones know
  GraphPtr result = pass.run(graph);
  for (int round = 1; round < kRounds; ++round) {
    GraphPtr next = pass.run(*result);
    const bool done = same_graph(*next, *result);
    result = std::move(next);
    if (done) break;
  }
  return result;
}

}  // namespace mixflow
