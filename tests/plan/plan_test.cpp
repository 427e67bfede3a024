// Plans are judged by a second opinion: who owns which byte is followed instruction by instruction,
// knowing nothing of how places were chosen.
#include <doctest/doctest.h>

#include <map>

#include "exec/graphs.h"
#include "ops/op_list.h"
#include "plan/memory.h"
#include "plan/program.h"

namespace mixflow {
namespace {

// Owners of the bytes of one kind of memory, as half-open ranges.
class Owners {
 public:
  void write(std::int64_t begin, std::int64_t end, Id owner) {
    if (begin >= end) return;
    const auto split = [&](std::int64_t at) {
      const auto after = ranges_.upper_bound(at);
      if (after == ranges_.begin()) return;
      const auto range = std::prev(after);
      if (range->first < at && at < range->second.end) {
        ranges_[at] = range->second;
        range->second.end = at;
      }
    };
    split(begin);
    split(end);
    ranges_.erase(ranges_.lower_bound(begin), ranges_.lower_bound(end));
    ranges_[begin] = {end, owner};
  }
  bool owns(std::int64_t begin, std::int64_t end, Id owner) const {
    for (std::int64_t at = begin; at < end;) {
      const auto after = ranges_.upper_bound(at);
      if (after == ranges_.begin()) return false;
      const auto& [start, range] = *std::prev(after);
      if (range.end <= at || range.owner != owner) return false;
      at = range.end;
    }
    return true;
  }

 private:
  struct Range {
    std::int64_t end;
    Id owner;
  };
  std::map<std::int64_t, Range> ranges_;
};

Id viewed(const Graph& graph, Id id) {
  while (graph.producer(id) && graph.producer(id)->op->view) id = graph.producer(id)->in[0];
  return id;
}

// Bytes of a value that are really stored: a stack of carries does without its first slice.
std::int64_t stored_bytes(const Body& body, Id id) {
  const std::int64_t bytes = body.graph->type(id).bytes();
  for (const Instr& instr : body.instrs) {
    if (!instr.loop) continue;
    const Node& node = body.graph->nodes[static_cast<std::size_t>(instr.node)];
    for (std::size_t j = 0; j < instr.loop->ys.size(); ++j) {
      if (node.out[instr.loop->carries.size() + j] == id && instr.loop->ys[j].edge_index >= 0) {
        return bytes - instr.loop->ys[j].stride;
      }
    }
  }
  return bytes;
}

// Every operand is whole when it is read; so are results at the end. Nested bodies too.
void check_ownership(const Body& body) {
  const Graph& g = *body.graph;
  Owners workspace;
  std::map<std::int32_t, Owners> slots;
  const auto write = [&](Id id, Id owner) {
    const Place& place = body.places[static_cast<std::size_t>(id)];
    const std::int64_t bytes = stored_bytes(body, id);
    if (place.kind == Place::Kind::workspace)
      workspace.write(place.offset, place.offset + bytes, owner);
    if (place.kind == Place::Kind::slot) slots[place.index].write(0, bytes, owner);
  };
  const auto check_read = [&](Id id) {
    const Id root = viewed(g, id);
    const Place& place = body.places[static_cast<std::size_t>(root)];
    const std::int64_t bytes = stored_bytes(body, root);
    if (place.kind == Place::Kind::workspace)
      CHECK(workspace.owns(place.offset, place.offset + bytes, root));
    if (place.kind == Place::Kind::slot) CHECK(slots[place.index].owns(0, bytes, root));
  };
  for (const Instr& instr : body.instrs) {
    const Node& node = g.nodes[static_cast<std::size_t>(instr.node)];
    for (const Id in : node.in) check_read(in);
    if (instr.kernel) {
      workspace.write(instr.scratch, instr.scratch + instr.kernel->scratch_bytes, kNone);
      for (const Id in : node.in) {
        // Scratch must not lie over an operand.
        if (instr.kernel->scratch_bytes > 0) check_read(in);
      }
    } else {
      const LoopPlan& loop = *instr.loop;
      const std::int64_t bytes = loop.fullest().workspace_bytes;
      const std::int64_t end = loop.workspace + loop.workspace_stride * (loop.threads - 1) + bytes;
      if (bytes > 0) workspace.write(loop.workspace, end, kNone);
      for (const Id in : node.in) check_read(in);
      for (const StackPlan& xs : loop.xs) {
        if (xs.edge != kNone) check_read(xs.edge);
      }
      check_ownership(*loop.body);
      if (loop.last != loop.body) check_ownership(*loop.last);
    }
    for (const Id out : node.out) write(out, out);
    CHECK(instr.scratch + (instr.kernel ? instr.kernel->scratch_bytes : 0) <= body.workspace_bytes);
  }
  for (const EndCopy& copy : body.end_copies) check_read(copy.from);
}

TEST_CASE("No operand is overwritten before its last read, in any body of random programs") {
  for (unsigned seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    check_ownership(*compile(testing::random_program(seed), {}, {})->body);
  }
}

TEST_CASE("Storages that live at once never overlap, and the total is the highest end") {
  testing::RandomGraph random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<Storage> storages;
    for (int i = 0; i < 30; ++i) {
      const int start = random.below(20);
      storages.push_back(
          {.bytes = random.below(5000), .start = start, .end = start + random.below(8)});
    }
    const std::int64_t total = assign_offsets(storages);
    std::int64_t highest = 0;
    for (const Storage& a : storages) {
      highest = std::max(highest, a.offset + a.bytes);
      CHECK(a.offset % kAlignment == 0);
      for (const Storage& b : storages) {
        if (&a == &b || a.end < b.start || b.end < a.start) continue;
        CHECK((a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset || a.bytes == 0 ||
               b.bytes == 0));
      }
    }
    CHECK(total == highest);
  }
}

// theta' = theta - 0.1 g with g kept, n times: the joint of every unroll.
GraphPtr unroll_gradient(std::int64_t n, std::int64_t width) {
  const Type type{DType::f32, {width}};
  Builder inner;
  const Id theta = inner.input(type);
  const Id x = inner.input(type);
  const Id g = inner.named(inner.mul(inner.tanh(theta), x), "g");
  const GraphPtr body = inner.finish({inner.sub(theta, inner.mul(g, 0.1))});
  Builder b;
  const Id theta0 = b.input(type);
  const Id xs = b.input(stacked(type, n));
  const Builder::Loop loop = b.scan(body, {}, std::vector<Id>{theta0}, std::vector<Id>{xs}, n,
                                    false, {Policy::Keep::carries, {}});
  const GraphPtr forward = b.finish({b.sum_all(b.square(loop.carry[0]))});
  return vjp(*forward, {true, false}, {true}, true).graph;
}

TEST_CASE("A stack of carries holds n - 1 slices: the first one is the initial value") {
  constexpr std::int64_t kWidth = 100000, kSlice = 4 * kWidth;
  const std::int64_t two = compile(unroll_gradient(2, kWidth), {}, {})->dynamic_bytes;
  const std::int64_t ten = compile(unroll_gradient(10, kWidth), {}, {})->dynamic_bytes;
  CHECK(ten - two <= 8 * aligned(kSlice));
  // theta_1 .. theta_9, theta_10 and the cotangent, besides tiles of fused kernels.
  CHECK(ten <= 11 * aligned(kSlice) + 65536);
}

// m' = 0.9 m + g, theta' = theta - 0.1 m', in loops of so many iterations after one another: the
// cotangents of m begin as zeros, which no buffer holds.
GraphPtr momentum_gradient(const std::vector<std::int64_t>& parts, std::int64_t width) {
  const Type type{DType::f32, {width}};
  Builder inner;
  const Id theta = inner.input(type);
  const Id m = inner.input(type);
  const Id x = inner.input(type);
  const Id next = inner.add(inner.mul(m, 0.9), inner.mul(inner.tanh(theta), x));
  const GraphPtr body = inner.finish({inner.sub(theta, inner.mul(next, 0.1)), next});
  Builder b;
  std::vector<Id> carry{b.input(type)};
  carry.push_back(b.zeros_like(carry[0]));
  std::vector<bool> active{true};
  for (const std::int64_t n : parts) {
    const std::vector<Id> xs{b.input(stacked(type, n))};
    active.push_back(false);
    carry = b.scan(body, {}, carry, xs, n, false, {Policy::Keep::carries, {}}).carry;
  }
  const GraphPtr forward = b.finish({b.sum_all(b.square(carry[0]))});
  return vjp(*forward, active, {true}, true).graph;
}

TEST_CASE("The carries of two loops after one another need no more memory than those of one") {
  constexpr std::int64_t kWidth = 100000;
  const auto bytes = [](const std::vector<std::int64_t>& parts) {
    return compile(momentum_gradient(parts, kWidth), {}, {})->dynamic_bytes;
  };
  for (const std::int64_t n : {2, 3, 5}) {
    for (std::int64_t first = 1; first < n; ++first) {
      CAPTURE(n);
      CAPTURE(first);
      CHECK(bytes({first, n - first}) <= bytes({n}));
    }
  }
}

// c' = W c, s' = s + c x, n times; the final c is a result or nobody reads it.
ProgramPtr plan_products(std::int64_t n, bool read) {
  const Type square{DType::f32, {8, 8}};
  Builder inner;
  const Id w = inner.input(square), c = inner.input(square), s = inner.input(square),
           x = inner.input(square);
  const GraphPtr body = inner.finish({inner.dot(w, c), inner.add(s, inner.mul(c, x))});
  Builder b;
  const std::vector<Id> weights{b.input(square)}, carry{b.input(square), b.input(square)},
      xs{b.input(stacked(square, n))};
  const Builder::Loop loop = b.scan(body, weights, carry, xs, n);
  return compile(read ? b.finish({loop.carry[1], loop.carry[0]}) : b.finish({loop.carry[1]}), {},
                 {});
}

TEST_CASE("The last iteration has a body of its own where that saves products") {
  constexpr std::int64_t kProduct = 2 * 8 * 8 * 8, kSum = 2 * 8 * 8;
  const std::int64_t counts[] = {1, 2, 5};
  for (const std::int64_t n : counts) {
    CAPTURE(n);
    CHECK(plan_products(n, true)->flop == n * (kProduct + kSum));
    CHECK(plan_products(n, false)->flop == (n - 1) * kProduct + n * kSum);
    CHECK(plan_products(n, false)->dynamic_bytes <= plan_products(n, true)->dynamic_bytes);
  }
  CHECK(plan_products(0, false)->flop == 0);
  // The last c of an unroll is elementwise: its kernel skips what nobody reads.
  const ProgramPtr unroll = compile(unroll_gradient(5, 8), {}, {});
  for (const Instr& instr : unroll->body->instrs) {
    if (instr.loop) CHECK(instr.loop->last == instr.loop->body);
  }
}

TEST_CASE("Products with a side of one stay products in bf16 only") {
  Builder b;
  const Id x = b.input({DType::f32, {5, 1}}), w = b.input({DType::f32, {1, 4}}),
           v = b.input({DType::f32, {4, 1}});
  const GraphPtr graph = b.finish({b.dot(b.relu(b.dot(x, w)), v)});
  for (const bool bf16 : {false, true}) {
    const GraphPtr planned = optimize(graph, {.bf16 = bf16});
    CHECK(count_ops(*planned, op::k_dot) + count_ops(*planned, op::k_dot_sum) == (bf16 ? 2 : 0));
  }
}

TEST_CASE("The plan of a loop does not grow with its trip count but for its stacks") {
  const ProgramPtr few = compile(unroll_gradient(2, 8), {}, {});
  const ProgramPtr many = compile(unroll_gradient(1000, 8), {}, {});
  CHECK(few->nodes == many->nodes);
}

}  // namespace
}  // namespace mixflow
