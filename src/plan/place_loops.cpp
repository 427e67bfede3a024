// Places of what goes into loops and comes out of them: stacks, carries, workspaces of iterations.
#include <algorithm>

#include "ops/op_list.h"
#include "plan/body_planner.h"
#include "util/checked.h"

namespace mixflow {
namespace {

// Per thread, of a parallel loop whose iterations are split over threads.
constexpr std::int64_t kSplitWorkspaceBytes = std::int64_t{8} << 20;
constexpr std::int64_t kSplitSumsBytes = std::int64_t{4} << 20;

// The first xs among the inputs of a scan, and of its body.
std::size_t first_xs(const Region& region) {
  return static_cast<std::size_t>(region.num_consts + region.num_carry);
}

}  // namespace

// Whether iterations run side by side, each on one thread: not where every thread's own workspace
// or sums would be large. Then the kernels of one iteration are large enough to use all threads.
bool BodyPlanner::splits(const Region& region) const {
  if (!region.parallel || threads_ == 1 || region.n <= 1) return false;
  std::int64_t sums = 0;
  for (std::int32_t k = 0; k < region.num_carry; ++k) {
    sums += region.body->type(region.body->outputs[static_cast<std::size_t>(k)]).bytes();
  }
  if (sums > kSplitSumsBytes) return false;
  const std::vector<InputContract> in(region.body->inputs.size());
  const std::vector<OutputContract> out(region.body->outputs.size());
  return planner_.plan(region.body, in, out, 1)->workspace_bytes <= kSplitWorkspaceBytes;
}

void BodyPlanner::place_loop(std::int32_t time) {
  const std::int32_t index = order_[static_cast<std::size_t>(time)];
  const Node& node = g_.nodes[static_cast<std::size_t>(index)];
  const Region& region = *region_of(node);
  const auto ny = static_cast<std::int32_t>(node.out.size()) - region.num_carry;

  const auto loop = std::make_shared<LoopPlan>();
  loop->region = node.attrs.region;
  const bool split = splits(region);
  loop->threads = split ? static_cast<int>(std::min<std::int64_t>(threads_, region.n)) : 1;

  std::vector<InputContract> in(region.body->inputs.size());
  std::vector<OutputContract> out(region.body->outputs.size());
  place_xs(node, time, *loop, in);
  std::vector<bool> xs_taken(loop->xs.size(), false);
  loop->carries.resize(static_cast<std::size_t>(region.num_carry));
  const GraphPtr last = last_iteration(node, *loop);
  loop->ys.resize(static_cast<std::size_t>(ny));
  // Moving carries first: they save most, and only they can use a stack with an edge.
  for (std::int32_t k = 0; k < region.num_carry; ++k) {
    place_carry(node, time, *loop, k, out[static_cast<std::size_t>(k)], xs_taken);
  }
  // At the edge temporaries take the slot of the iteration before. There is none where a carry has
  // moved there, or where the edge is all there is.
  for (std::size_t j = 0; j < loop->xs.size(); ++j) {
    StackPlan& xs = loop->xs[j];
    if (xs.edge == kNone || (!xs_taken[j] && region.n > 1)) continue;
    xs.donated = false;
    in[first_xs(region) + j].donated = false;
  }
  for (std::int32_t j = 0; j < ny; ++j) {
    place_ys(node, time, *loop, j, out[static_cast<std::size_t>(region.num_carry + j)], xs_taken);
  }
  plan_bodies(last, *loop, in, out);
  const std::int64_t body_bytes = loop->fullest().workspace_bytes;
  loop->workspace_stride = aligned(body_bytes);
  const std::int64_t workspace = loop->workspace_stride * (loop->threads - 1) + body_bytes;
  if (workspace > 0)
    loop_storage_.back() = add_storage(workspace, time, time, kNone, "workspace of scan");
  for (CarryPlan& carry : loop->carries) {
    if (loop->threads == 1) continue;
    const std::int64_t bytes = aligned(carry.bytes) * (loop->threads - 2) + carry.bytes;
    private_storage_.back().push_back(
        add_storage(bytes, time, time, kNone, "partial sums of scan"));
  }
  body_->zeros_bytes =
      std::max({body_->zeros_bytes, loop->body->zeros_bytes, loop->last->zeros_bytes});
  if (split) {
    for (const CarryPlan& carry : loop->carries)
      body_->zeros_bytes = std::max(body_->zeros_bytes, carry.bytes);
  }
  if (region.n > 0) {
    const std::int64_t before = checked_product("FLOPs", {region.n - 1, loop->body->flop});
    body_->flop = checked_sum("FLOPs", body_->flop, checked_sum("FLOPs", before, loop->last->flop));
  }
  loops_.back() = loop;
  body_->instrs.back().loop = loop;
}

// The body of the loop's last iteration if it is one of its own, else null; marks what it drops.
GraphPtr BodyPlanner::last_iteration(const Node& node, LoopPlan& loop) {
  const Region& region = *loop.region;
  if (region.parallel || region.n == 0) return nullptr;
  std::vector<bool> dead;
  for (std::size_t k = 0; k < loop.carries.size(); ++k) dead.push_back(last(node.out[k]) < 0);
  GraphPtr last = planner_.last_iteration(loop.region, dead);
  for (std::size_t k = 0; last && k < dead.size(); ++k) loop.carries[k].dropped = dead[k];
  return last;
}

void BodyPlanner::plan_bodies(const GraphPtr& last, LoopPlan& loop,
                              const std::vector<InputContract>& in,
                              const std::vector<OutputContract>& out) {
  const int threads = loop.threads > 1 ? 1 : threads_;
  if (last) {
    std::vector<OutputContract> kept;
    for (std::size_t k = 0; k < out.size(); ++k) {
      if (k >= loop.carries.size() || !loop.carries[k].dropped) kept.push_back(out[k]);
    }
    loop.last = planner_.plan(last, in, kept, threads);
  }
  const bool only_last = last && loop.region->n == 1;
  loop.body = only_last ? loop.last : planner_.plan(loop.region->body, in, out, threads);
  if (!last) loop.last = loop.body;
}

void BodyPlanner::place_xs(const Node& node, std::int32_t time, LoopPlan& loop,
                           std::vector<InputContract>& contracts) {
  const Region& region = *region_of(node);
  const std::size_t first = first_xs(region);
  const std::int64_t last_index = region.reverse ? 0 : region.n - 1;
  loop.xs.resize(static_cast<std::size_t>(region.num_xs));
  for (std::size_t j = 0; j < loop.xs.size(); ++j) {
    StackPlan& xs = loop.xs[j];
    const Id r = root(node.in[first + j]);
    xs.stride = region.body->type(region.body->inputs[first + j]).bytes();
    if (const Edge* e = edge(r)) {
      xs.edge = e->init;
      xs.edge_index = e->index;
      xs.shift = e->shift;
    }
    // What lies at the edge must be read last.
    const bool edge_fits = xs.edge == kNone || (xs.edge_index == last_index && loop.threads == 1);
    if (planner_.options.share && last(r) == time && storage(r) >= 0 && occurrences(node, r) == 1 &&
        edge_fits) {
      xs.donated = true;
      contracts[first + j].donated = true;
    }
  }
}

// A donated xs whose slices have `bytes` bytes, best one that the producer of `body_output` reads.
std::int32_t BodyPlanner::donated_xs_for(const Node& node, const LoopPlan& loop, Id body_output,
                                         std::int64_t bytes, bool for_carry,
                                         const std::vector<bool>& xs_taken) const {
  const Region& region = *region_of(node);
  const Node* producer = region.body->producer(body_output);
  std::int32_t found = -1;
  for (std::size_t j = 0; j < loop.xs.size(); ++j) {
    const StackPlan& xs = loop.xs[j];
    if (!xs.donated || xs_taken[j] || xs.stride != bytes || (xs.edge != kNone && !for_carry))
      continue;
    const Id input = region.body->inputs[first_xs(region) + j];
    const bool read = producer && std::find(producer->in.begin(), producer->in.end(), input) !=
                                      producer->in.end();
    if (read) return static_cast<std::int32_t>(j);
    if (found < 0) found = static_cast<std::int32_t>(j);
  }
  return found;
}

// Gives the final value of a carry that moves along `xs`, and is read, the memory where the last
// iteration leaves it, if it may stay there: at the edge, or in the only slot.
bool BodyPlanner::place_where_it_ends(const Node& node, const LoopPlan& loop, std::int32_t xs,
                                      Id final, std::int32_t time) {
  const Region& region = *loop.region;
  const StackPlan& stack = loop.xs[static_cast<std::size_t>(xs)];
  if (stack.edge == kNone && region.n > 1) return false;
  const Id memory = root(
      stack.edge != kNone ? stack.edge : node.in[first_xs(region) + static_cast<std::size_t>(xs)]);
  return occurrences(node, memory) == 1 && g_.type(memory).bytes() == stack.stride &&
         join(final, memory, time);
}

void BodyPlanner::place_carry(const Node& node, std::int32_t time, LoopPlan& loop, std::int32_t k,
                              OutputContract& contract, std::vector<bool>& xs_taken) {
  const Region& region = *region_of(node);
  const Id init = root(node.in[static_cast<std::size_t>(region.num_consts + k)]);
  const Id final = node.out[static_cast<std::size_t>(k)];
  const Id body_output = region.body->outputs[static_cast<std::size_t>(k)];
  const bool dead = last(final) < 0;
  CarryPlan& carry = loop.carries[static_cast<std::size_t>(k)];
  carry.bytes = g_.type(final).bytes();
  if (carry.dropped && region.n == 1) return;

  const auto never = [](Id) { return false; };
  for (std::size_t j = static_cast<std::size_t>(region.num_carry); j < node.out.size(); ++j) {
    const Edge* e = edge(node.out[j]);
    if (!e || e->carry != k) continue;
    carry.kind = CarryPlan::Kind::stacked;
    carry.partner = static_cast<std::int32_t>(j) - region.num_carry;
    contract.nullable = dead && !carry.dropped;
    if (!dead && !place_at_destination(final, time, false, never)) {
      storage(final) = add_storage(carry.bytes, time, last(final), final);
    }
    return;
  }
  const std::int32_t xs = planner_.options.share && loop.threads == 1
                              ? donated_xs_for(node, loop, body_output, carry.bytes, true, xs_taken)
                              : -1;
  const auto move_along_xs = [&] {
    xs_taken[static_cast<std::size_t>(xs)] = true;
    carry.kind = CarryPlan::Kind::moving;
    carry.partner = xs;
    contract = {.slot_of = region.num_consts + region.num_carry + xs};
  };
  if (dead && xs >= 0) {
    move_along_xs();
    contract.nullable = loop.xs[static_cast<std::size_t>(xs)].edge != kNone && !carry.dropped;
    return;
  }
  carry.kind = CarryPlan::Kind::in_place;
  contract.in_place_of = region.num_consts + k;
  const auto is_init = [&](Id r) { return r == init && occurrences(node, r) == 1; };
  if (place_at_destination(final, time, false, is_init)) return;
  if (occurrences(node, init) == 1 && g_.type(init).bytes() == carry.bytes && storage(init) >= 0 &&
      join(final, init, time)) {
    return;
  }
  if (xs >= 0 && place_where_it_ends(node, loop, xs, final, time)) return move_along_xs();
  storage(final) = add_storage(carry.bytes, time, std::max(time, last(final)), final);
}

void BodyPlanner::place_ys(const Node& node, std::int32_t time, LoopPlan& loop, std::int32_t j,
                           OutputContract& contract, std::vector<bool>& xs_taken) {
  const Region& region = *region_of(node);
  const Id value = node.out[static_cast<std::size_t>(region.num_carry + j)];
  const Id body_output = region.body->outputs[static_cast<std::size_t>(region.num_carry + j)];
  StackPlan& ys = loop.ys[static_cast<std::size_t>(j)];
  ys.stride = region.body->type(body_output).bytes();
  if (const Edge* e = edge(value)) {
    ys.edge_index = e->index;
    ys.shift = e->shift;
    contract.is_input = true;
    contract.in_place_of = region.num_consts + e->carry;
    storage(value) = add_storage(ys.stride * (region.n - 1), time, last(value), value);
    return;
  }
  // An input of this body that the value is to overwrite may be an xs of this very loop: an
  // iteration reads its slice and writes that one only.
  const std::size_t first = first_xs(region);
  const auto read_slice_by_slice = [&](Id r) {
    for (std::size_t i = 0; i < loop.xs.size(); ++i) {
      if (root(node.in[first + i]) != r || occurrences(node, r) != 1) continue;
      if (loop.xs[i].stride != ys.stride) continue;
      contract.in_place_of = static_cast<std::int32_t>(first + i);
      return true;
    }
    return false;
  };
  if (place_at_destination(value, time, false, read_slice_by_slice)) return;
  contract.in_place_of = -1;
  if (planner_.options.share) {
    const std::int32_t xs = donated_xs_for(node, loop, body_output, ys.stride, false, xs_taken);
    if (xs >= 0 && join(value, root(node.in[first + static_cast<std::size_t>(xs)]), time)) {
      xs_taken[static_cast<std::size_t>(xs)] = true;
      ys.over_xs = xs;
      contract.slot_of = static_cast<std::int32_t>(first) + xs;
      return;
    }
  }
  storage(value) = add_storage(ys.stride * region.n, time, std::max(time, last(value)), value);
}

}  // namespace mixflow
