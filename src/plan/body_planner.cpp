#include "plan/body_planner.h"

#include <algorithm>

#include "ops/op_list.h"
#include "util/checked.h"
#include "util/error.h"

namespace mixflow {

BodyPlanner::BodyPlanner(Planner& planner, GraphPtr graph, const std::vector<InputContract>& inputs,
                         const std::vector<OutputContract>& outputs, int threads, Order order)
    : planner_(planner),
      graph_(std::move(graph)),
      g_(*graph_),
      inputs_(inputs),
      outputs_(outputs),
      threads_(threads),
      order_(schedule(g_, order)),
      end_(static_cast<std::int32_t>(order_.size())),
      body_(std::make_shared<Body>()) {}

BodyPtr BodyPlanner::run() {
  body_->graph = graph_;
  body_->places.resize(g_.values.size());
  storage_of_.assign(g_.values.size(), -1);
  slot_uses_.resize(inputs_.size());
  find_roots();
  find_lifetimes();
  find_edges();
  for (std::size_t i = 0; i < g_.inputs.size(); ++i) {
    place(g_.inputs[i]) = {.kind = Place::Kind::input, .index = static_cast<std::int32_t>(i)};
  }
  for (std::int32_t time = 0; time < end_; ++time) place_node(time);
  copy_outputs();
  use_slots();
  if (!planner_.options.share) {
    for (Storage& s : storages_) s = {.bytes = s.bytes, .start = 0, .end = end_};
  }
  finish_places();
  list_freed();
  list_peak();
  list_phases();
  list_alive();
  return body_;
}

// --- analysis ------------------------------------------------------------------------------------

void BodyPlanner::find_roots() {
  root_.resize(g_.values.size());
  for (std::size_t v = 0; v < root_.size(); ++v) root_[v] = static_cast<Id>(v);
  for (const Node& node : g_.nodes) {
    if (node.op->view) root_[static_cast<std::size_t>(node.out[0])] = root(node.in[0]);
  }
}

void BodyPlanner::find_lifetimes() {
  last_.assign(g_.values.size(), -1);
  reader_count_.assign(g_.values.size(), 0);
  for (std::int32_t time = 0; time < end_; ++time) {
    const Node& node = g_.nodes[static_cast<std::size_t>(order_[static_cast<std::size_t>(time)])];
    if (node.op->view) continue;
    for (const Id in : node.in) {
      last(root(in)) = time;
      ++reader_count_[static_cast<std::size_t>(root(in))];
    }
  }
  for (const Id out : g_.outputs) last(root(out)) = end_;
}

// A ys that is the body's own carry input, and that only loops read slice by slice, is not copied:
// the iterations write their carries into its slots, and its first slot is the init itself, which
// must then live as long.
void BodyPlanner::find_edges() {
  if (!planner_.options.share) return;
  for (const Node& node : g_.nodes) {
    if (node.op != &op::k_scan || region_of(node)->parallel) continue;
    const Region& region = *region_of(node);
    if (region.n == 0) continue;
    const Graph& body = *region.body;
    std::vector<bool> carry_taken(static_cast<std::size_t>(region.num_carry), false);
    for (std::size_t j = static_cast<std::size_t>(region.num_carry); j < node.out.size(); ++j) {
      const Id ys = node.out[j];
      if (last(ys) < 0 || last(ys) == end_) continue;
      bool sliced_only = true;
      for (const Node& reader : g_.nodes) {
        for (std::size_t i = 0; i < reader.in.size(); ++i) {
          if (reader.in[i] != ys) continue;
          const Region* r = region_of(reader);
          sliced_only = sliced_only && reader.op == &op::k_scan &&
                        i >= static_cast<std::size_t>(r->num_consts + r->num_carry);
        }
      }
      if (!sliced_only) continue;
      for (int k = 0; k < region.num_carry; ++k) {
        const auto index = static_cast<std::size_t>(k);
        if (carry_taken[index] ||
            body.outputs[j] != body.inputs[static_cast<std::size_t>(region.num_consts) + index]) {
          continue;
        }
        carry_taken[index] = true;
        const Id init = node.in[static_cast<std::size_t>(region.num_consts + k)];
        const std::int64_t stride = g_.type(init).bytes();
        edges_[ys] = {.init = init,
                      .carry = k,
                      .index = region.reverse ? region.n - 1 : 0,
                      .shift = region.reverse ? 0 : stride};
        last(root(init)) = std::max(last(root(init)), last(ys));
        break;
      }
    }
  }
}

const BodyPlanner::Edge* BodyPlanner::edge(Id id) const {
  const auto found = edges_.find(id);
  return found == edges_.end() ? nullptr : &found->second;
}

std::int32_t BodyPlanner::occurrences(const Node& node, Id r) const {
  std::int32_t count = 0;
  for (const Id in : node.in) {
    count += root(in) == r ? 1 : 0;
    const Edge* e = edge(root(in));
    count += e && root(e->init) == r ? 1 : 0;
  }
  return count;
}

// --- placing -------------------------------------------------------------------------------------

void BodyPlanner::place_node(std::int32_t time) {
  const std::int32_t index = order_[static_cast<std::size_t>(time)];
  const Node& node = g_.nodes[static_cast<std::size_t>(index)];
  claimed_.clear();
  if (node.op->view) return;
  if (node.op == &op::k_full && node.attrs.value == 0 && last(node.out[0]) != end_) {
    place(node.out[0]) = {.kind = Place::Kind::zeros};
    body_->zeros_bytes = std::max(body_->zeros_bytes, g_.type(node.out[0]).bytes());
    return;
  }
  body_->instrs.push_back({.node = index});
  scratch_storage_.push_back(-1);
  loop_storage_.push_back(-1);
  private_storage_.emplace_back();
  loops_.emplace_back();
  if (node.op == &op::k_scan) {
    place_loop(time);
  } else {
    place_primitive(time);
  }
}

void BodyPlanner::place_primitive(std::int32_t time) {
  const std::int32_t index = order_[static_cast<std::size_t>(time)];
  const Node& node = g_.nodes[static_cast<std::size_t>(index)];
  const std::vector<std::uint32_t>& may_overwrite = planner_.may_overwrite(g_, index);
  for (std::size_t j = 0; j < node.out.size(); ++j) {
    const Id value = node.out[j];
    const std::int64_t bytes = g_.type(value).bytes();
    const std::uint32_t bits = may_overwrite[j];
    const auto overwrites = [&](Id r) {
      for (std::size_t i = 0; i < node.in.size(); ++i) {
        if (root(node.in[i]) == r) {
          return i < 32 && (bits >> i & 1) && occurrences(node, r) == 1 &&
                 g_.type(r).bytes() == bytes;
        }
      }
      return false;
    };
    if (last(value) < 0) {
      if (!stores_null(node)) storage(value) = add_storage(bytes, time, time, value);
      continue;
    }
    if (place_at_destination(value, time, stores_null(node), overwrites)) continue;
    bool joined = false;
    for (std::size_t i = 0; i < node.in.size() && !joined; ++i) {
      joined = overwrites(root(node.in[i])) && join(value, root(node.in[i]), time);
    }
    if (!joined) storage(value) = add_storage(bytes, time, last(value), value);
  }
  Instr& instr = body_->instrs.back();
  instr.kernel = planner_.kernel(g_, index, threads_);
  body_->flop = checked_sum("FLOPs", body_->flop, cost_of(g_, node).flop);
  if (instr.kernel->scratch_bytes > 0) {
    scratch_storage_.back() = add_storage(instr.kernel->scratch_bytes, time, time, kNone,
                                          "scratch of " + std::string(node.op->name));
  }
}

bool BodyPlanner::place_at_destination(Id value, std::int32_t time, bool stores_null,
                                       const std::function<bool(Id)>& overwrites) {
  if (last(value) != end_) return false;
  std::int32_t count = 0;
  for (const Id out : g_.outputs) count += root(out) == value ? 1 : 0;
  for (std::size_t k = 0; k < g_.outputs.size(); ++k) {
    if (root(g_.outputs[k]) != value) continue;
    const OutputContract& contract = outputs_[k];
    if (contract.is_input) continue;
    if (contract.nullable && (!stores_null || readers(value) > 0 || count > 1)) continue;
    bool allowed = true;
    std::vector<Id> overwritten;
    for (const std::int32_t input : {contract.in_place_of, contract.slot_of}) {
      if (input < 0) continue;
      const Id memory = g_.inputs[static_cast<std::size_t>(input)];
      allowed = allowed && planner_.options.share;
      if (last(memory) > time) allowed = false;
      if (last(memory) == time) {
        allowed = allowed && overwrites(memory);
        overwritten.push_back(memory);
      }
    }
    if (allowed && contract.slot_of >= 0) {
      for (const Use& use : slot_uses_[static_cast<std::size_t>(contract.slot_of)]) {
        allowed = allowed && use.end < time;
      }
    }
    for (const Id memory : overwritten) allowed = allowed && claim(memory);
    if (!allowed) continue;
    if (contract.slot_of >= 0)
      slot_uses_[static_cast<std::size_t>(contract.slot_of)].push_back({time, end_});
    place(value) = {.kind = Place::Kind::dest, .index = static_cast<std::int32_t>(k)};
    return true;
  }
  return false;
}

bool BodyPlanner::claim(Id r) {
  if (std::find(claimed_.begin(), claimed_.end(), r) != claimed_.end()) return false;
  claimed_.push_back(r);
  return true;
}

// `value` takes over the memory of `r`, which is read for the last time now.
bool BodyPlanner::join(Id value, Id r, std::int32_t time) {
  if (!planner_.options.share || last(r) != time) return false;
  const std::int32_t s = storage(r);
  if (s >= 0) {
    const std::int32_t slot = pinned_[static_cast<std::size_t>(s)];
    if (slot >= 0 && outlives_slot(value, slot)) return false;
    if (!claim(r)) return false;
    Storage& shared = storages_[static_cast<std::size_t>(s)];
    shared.end = std::max(shared.end, std::max(time, last(value)));
    if (slot >= 0) slot_uses_[static_cast<std::size_t>(slot)].back().end = shared.end;
    storage(value) = s;
    return true;
  }
  const Place& from = place(r);
  if (from.kind != Place::Kind::input || !inputs_[static_cast<std::size_t>(from.index)].donated)
    return false;
  auto& uses = slot_uses_[static_cast<std::size_t>(from.index)];
  if (!uses.empty() || outlives_slot(value, from.index) || !claim(r)) return false;
  uses.push_back({time, std::max(time, last(value))});
  storage(value) = add_storage(g_.type(value).bytes(), time, std::max(time, last(value)), value);
  pinned_[static_cast<std::size_t>(storage(value))] = from.index;
  return true;
}

// Whether `value` is needed when the slot must hold an output that is another value.
bool BodyPlanner::outlives_slot(Id value, std::int32_t slot) const {
  if (last_[static_cast<std::size_t>(value)] != end_) return false;
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    if (outputs_[k].slot_of == slot && root(g_.outputs[k]) != value) return true;
  }
  return false;
}

std::int32_t BodyPlanner::add_storage(std::int64_t bytes, std::int32_t start, std::int32_t end,
                                      Id value, std::string name) {
  storages_.push_back({.bytes = bytes, .start = start, .end = end});
  storage_value_.push_back(value);
  storage_name_.push_back(std::move(name));
  pinned_.push_back(-1);
  return static_cast<std::int32_t>(storages_.size()) - 1;
}

// --- finishing -----------------------------------------------------------------------------------

// Outputs that could not be computed in place are copied at the end. An input that another output
// overwrites is saved first.
void BodyPlanner::copy_outputs() {
  for (std::size_t k = 0; k < g_.outputs.size(); ++k) {
    const Id value = root(g_.outputs[k]);
    const Place& from = place(value);
    const OutputContract& contract = outputs_[k];
    const auto output = static_cast<std::int32_t>(k);
    if (contract.is_input) {
      MIXFLOW_CHECK(from.kind == Place::Kind::input && from.index == contract.in_place_of,
                    "not its input");
      continue;
    }
    if (from.kind == Place::Kind::dest && from.index == output) continue;
    const std::int64_t bytes = g_.type(value).bytes();
    if (contract.slot_of >= 0)
      slot_uses_[static_cast<std::size_t>(contract.slot_of)].push_back({end_, end_});
    if (from.kind == Place::Kind::input) {
      bool overwritten = false;
      for (std::size_t o = 0; o < outputs_.size(); ++o) {
        overwritten =
            overwritten ||
            (o != k && !outputs_[o].is_input &&
             (outputs_[o].in_place_of == from.index || outputs_[o].slot_of == from.index));
      }
      if (overwritten) {
        staged_storage_.push_back(add_storage(bytes, end_, end_, kNone, "copy of an input"));
        body_->staged.push_back(
            {.input = from.index, .offset = 0, .output = output, .bytes = bytes});
        continue;
      }
    }
    body_->end_copies.push_back({.from = value, .output = output, .bytes = bytes});
  }
}

// Large storages first: each into the smallest donated slot that is free for all of its life.
void BodyPlanner::use_slots() {
  if (!planner_.options.share) return;
  std::vector<std::size_t> by_size;
  for (std::size_t s = 0; s < storages_.size(); ++s) {
    if (pinned_[s] < 0 && storage_value_[s] != kNone && storages_[s].bytes > 0)
      by_size.push_back(s);
  }
  std::stable_sort(by_size.begin(), by_size.end(), [&](std::size_t a, std::size_t b) {
    return storages_[a].bytes > storages_[b].bytes;
  });
  for (const std::size_t s : by_size) {
    std::int32_t best = -1;
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      if (!inputs_[i].donated) continue;
      const Type& type = g_.type(g_.inputs[i]);
      const std::int64_t bytes = type.bytes();
      if (bytes < storages_[s].bytes || last(g_.inputs[i]) >= storages_[s].start) continue;
      // Slices begin at multiples of their own element size only.
      if (dtype_bytes(type.dtype) < dtype_bytes(g_.type(storage_value_[s]).dtype)) continue;
      bool free = true;
      for (const Use& use : slot_uses_[i])
        free = free && (use.end < storages_[s].start || storages_[s].end < use.start);
      if (!free) continue;
      if (best < 0 || bytes < g_.type(g_.inputs[static_cast<std::size_t>(best)]).bytes()) {
        best = static_cast<std::int32_t>(i);
      }
    }
    if (best < 0) continue;
    pinned_[s] = best;
    slot_uses_[static_cast<std::size_t>(best)].push_back({storages_[s].start, storages_[s].end});
  }
}

Place BodyPlanner::storage_place(std::int32_t s) const {
  const auto index = static_cast<std::size_t>(s);
  if (pinned_[index] >= 0) return {.kind = Place::Kind::slot, .index = pinned_[index]};
  return {.kind = Place::Kind::workspace, .offset = storages_[index].offset};
}

void BodyPlanner::finish_places() {
  std::vector<Storage> packed;
  std::vector<std::size_t> which;
  for (std::size_t s = 0; s < storages_.size(); ++s) {
    if (pinned_[s] >= 0) continue;
    packed.push_back(storages_[s]);
    which.push_back(s);
  }
  body_->workspace_bytes = assign_offsets(packed);
  for (std::size_t p = 0; p < packed.size(); ++p) storages_[which[p]].offset = packed[p].offset;

  for (std::size_t v = 0; v < g_.values.size(); ++v) {
    const auto id = static_cast<Id>(v);
    if (root(id) == id && storage(id) >= 0) place(id) = storage_place(storage(id));
  }
  for (std::size_t v = 0; v < g_.values.size(); ++v)
    place(static_cast<Id>(v)) = place(root(static_cast<Id>(v)));

  const auto offset = [&](std::int32_t s) {
    return s < 0 ? 0 : storages_[static_cast<std::size_t>(s)].offset;
  };
  for (std::size_t i = 0; i < body_->instrs.size(); ++i) {
    body_->instrs[i].scratch = offset(scratch_storage_[i]);
    if (!loops_[i]) continue;
    loops_[i]->workspace = offset(loop_storage_[i]);
    for (std::size_t k = 0; k < private_storage_[i].size(); ++k) {
      loops_[i]->carries[k].private_offset = offset(private_storage_[i][k]);
    }
  }
  for (std::size_t c = 0; c < staged_storage_.size(); ++c)
    body_->staged[c].offset = offset(staged_storage_[c]);
}

void BodyPlanner::list_freed() {
  if (!planner_.options.poison) return;
  std::vector<std::int32_t> instr_at(static_cast<std::size_t>(end_), -1);
  std::size_t i = 0;
  for (std::int32_t time = 0; time < end_ && i < body_->instrs.size(); ++time) {
    if (order_[static_cast<std::size_t>(time)] == body_->instrs[i].node) {
      instr_at[static_cast<std::size_t>(time)] = static_cast<std::int32_t>(i++);
    }
  }
  for (std::size_t s = 0; s < storages_.size(); ++s) {
    const Storage& storage = storages_[s];
    if (storage.end >= end_ || storage.bytes == 0) continue;
    const std::int32_t at = instr_at[static_cast<std::size_t>(storage.end)];
    MIXFLOW_CHECK(at >= 0, "a storage ends where nothing runs");
    body_->instrs[static_cast<std::size_t>(at)].freed.push_back(
        {storage_place(static_cast<std::int32_t>(s)), storage.bytes});
  }
}

}  // namespace mixflow
