// jvp and vjp of scan and map: values, and what each policy keeps.
#include <doctest/doctest.h>

#include "ops/op_list.h"
#include "transform/check_derivatives.h"
#include "transform/reachable.h"

namespace mixflow {
namespace {

using namespace mixflow::testing;
using Keep = Policy::Keep;

constexpr std::int64_t kLoopSteps = 4;

// h' = tanh(h W + x), with a second, slower carry and a named value; ys = h . x.
GraphPtr cell() {
  Builder b;
  const Id w = b.input(f64({3, 3})), scale = b.input(f64({})), unused = b.input(f64({2}));
  const Id h = b.input(f64({2, 3})), slow = b.input(f64({2, 3})), x = b.input(f64({2, 3}));
  (void)unused;
  const Id inside = b.named(b.sin(b.add(b.dot(h, w), x)), "inside");
  const Id next = b.tanh(b.add(b.mul(inside, scale), slow));
  const Id next_slow = b.add(b.mul(slow, 0.9), b.mul(b.square(inside), 0.1));
  return b.finish({next, next_slow, b.mul(next, x)});
}

GraphPtr recurrent(Policy policy, bool reverse, std::int64_t n = kLoopSteps) {
  Builder b;
  const Ids consts{b.input(f64({3, 3})), b.input(f64({})), b.input(f64({2}))};
  const Ids carry{b.input(f64({2, 3})), b.full(0.1, DType::f64, {2, 3})};
  const Ids xs{b.input(f64({n, 2, 3}))};
  const Builder::Loop loop = b.scan(cell(), consts, carry, xs, n, reverse, std::move(policy));
  return b.finish({loop.carry[0], loop.ys[0]});
}

std::vector<Policy> policies() {
  return {{Keep::carries, {}}, {Keep::names, {"inside"}}, {Keep::dots, {}}, {Keep::all, {}}};
}

// The first node of this op at the top of the graph.
const Node& first(const Graph& graph, const OpDef& op, std::size_t skip = 0) {
  for (const Node& node : graph.nodes) {
    if (node.op == &op && skip-- == 0) return node;
  }
  FAIL("no such node");
  return graph.nodes.front();
}

TEST_CASE(
    "A scan is differentiated right to third order, forward and reverse, under every policy") {
  for (const Policy& policy : policies()) {
    for (const bool reverse : {false, true}) {
      CAPTURE(static_cast<int>(policy.keep));
      CAPTURE(reverse);
      check_derivatives(*recurrent(policy, reverse), {-1, 1, true, 3});
    }
  }
}

TEST_CASE("Policies choose what is kept and change no gradient") {
  Rng rng(5, Purpose::check);
  const GraphPtr reference = recurrent({Keep::all, {}}, false);
  const Mask active = float_inputs(*reference);
  const Tensors x = draw_inputs(*reference, rng);
  const Tensors y_bar{draw(reference->type(reference->outputs[0]), rng),
                      draw(reference->type(reference->outputs[1]), rng)};
  const Tensors expected = pull(*reference, active, x, y_bar);
  for (const Policy& policy : policies()) {
    CAPTURE(static_cast<int>(policy.keep));
    const GraphPtr graph = recurrent(policy, false);
    CHECK(distance(pull(*graph, active, x, y_bar), expected) < 1e-13);

    const VjpResult backward = vjp(*graph, active, {true, true});
    REQUIRE(backward.graph->nodes.size() >= 2);
    const Region& forward_loop = *region_of(first(*backward.graph, op::k_scan));
    const Region& backward_loop = *region_of(first(*backward.graph, op::k_scan, 1));
    CHECK(forward_loop.policy == policy);
    CHECK_FALSE(forward_loop.reverse);
    CHECK(backward_loop.reverse);
    CHECK(backward_loop.n == kLoopSteps);
    CHECK(backward_loop.policy.keep == (policy.keep == Keep::names ? Keep::carries : policy.keep));
    const Graph& body = *forward_loop.body;
    const std::size_t stacks = body.outputs.size() - 2;
    // The carries at each iteration's start are the body's very inputs.
    std::size_t carry_stacks = 0;
    for (std::size_t j = 2; j < body.outputs.size(); ++j) {
      if (body.producer(body.outputs[j]) == nullptr) ++carry_stacks;
    }
    const std::int64_t recomputed = count_ops(*backward_loop.body, op::k_tanh);
    const std::int64_t recomputed_inside = count_ops(*backward_loop.body, op::k_sin);
    switch (policy.keep) {
      case Keep::carries:  // both carries
        CHECK(stacks == 2);
        CHECK(carry_stacks == 2);
        CHECK(recomputed == 1);
        CHECK(recomputed_inside == 1);
        break;
      case Keep::names:  // and the sine, of which the derivative needs the argument: hence the dot
                         // again
        CHECK(stacks == 3);
        CHECK(carry_stacks == 2);
        CHECK(recomputed == 1);
        CHECK(recomputed_inside == 0);
        break;
      case Keep::dots:  // the product; the carries give the rest
        CHECK(stacks == 3);
        CHECK(carry_stacks == 2);
        CHECK(recomputed == 1);
        CHECK(recomputed_inside == 1);
        CHECK(count_ops(*backward_loop.body, op::k_dot) == 2);
        break;
      case Keep::all:  // h for dW, the sine, its argument, the tanh
        CHECK(stacks == 4);
        CHECK(carry_stacks == 1);
        CHECK(recomputed == 0);
        CHECK(recomputed_inside == 0);
        break;
    }
  }
}

TEST_CASE("What the backward pass does not read is not kept") {
  // Linear in its carry: nothing of an iteration is needed, but for the weight's cotangent.
  Builder body;
  const Id w = body.input(f64({3})), h = body.input(f64({3})), x = body.input(f64({3}));
  const GraphPtr step = body.finish({body.add(body.mul(h, w), x)});
  Builder b;
  const Ids in{b.input(f64({3})), b.input(f64({3})), b.input(f64({5, 3}))};
  const Builder::Loop loop = b.scan(step, Ids{in[0]}, Ids{in[1]}, Ids{in[2]}, 5);
  const GraphPtr graph = b.finish({loop.carry[0]});
  const VjpResult without = vjp(*graph, {false, true, true}, {true});
  CHECK(count_ops(*without.graph, op::k_scan) == 1);  // the forward loop is dead
  const VjpResult with = vjp(*graph, {true, true, true}, {true});
  REQUIRE(count_ops(*with.graph, op::k_scan) == 2);
  CHECK(region_of(first(*with.graph, op::k_scan))->body->outputs.size() == 2);
  check_derivatives(*graph);
}

TEST_CASE("A carry that never changes is a constant of the backward loop") {
  Builder body;
  const Id fixed = body.input(f64({3})), h = body.input(f64({3}));
  const GraphPtr step = body.finish({fixed, body.sin(body.mul(h, fixed))});
  Builder b;
  const Ids in{b.input(f64({3})), b.input(f64({3}))};
  const Builder::Loop loop = b.scan(step, {}, in, {}, 5, false, {Keep::carries, {}});
  const GraphPtr graph = b.finish({loop.carry[0], loop.carry[1]});
  const VjpResult result = vjp(*graph, {true, true}, {true, true});
  for (const Node& node : result.graph->nodes) {
    for (Id id : node.in) CHECK(result.graph->type(id) != f64({4, 3}));
    if (node.op != &op::k_scan || region_of(node)->reverse) continue;
    CHECK(node.out.size() - static_cast<std::size_t>(region_of(node)->num_carry) == 1);
  }
  check_derivatives(*graph, {-1, 1, true, 3});
}

TEST_CASE("A value that a scan returns already is not kept twice") {
  Builder body;
  const Id h = body.input(f64({3}));
  const Id next = body.exp(body.mul(h, 0.5));
  const GraphPtr step = body.finish({next, next, h});
  Builder b;
  const Builder::Loop loop = b.scan(step, {}, Ids{b.input(f64({3}))}, {}, 5);
  const GraphPtr graph = b.finish({loop.carry[0], loop.ys[0], loop.ys[1]});
  const VjpResult result = vjp(*graph, {true}, {true, true, true}, true);
  CHECK(region_of(first(*result.graph, op::k_scan))->body->outputs.size() == 3);
  check_derivatives(*graph, {-1, 1, true, 3});
}

TEST_CASE("A carry whose tangent appears only inside the loop starts from zero") {
  Builder body;
  const Id w = body.input(f64({3})), a = body.input(f64({3})), c = body.input(f64({3}));
  const Id d = body.input(f64({3}));
  // w reaches a at once, c one iteration later, d never.
  const GraphPtr step = body.finish({body.mul(a, w), body.add(c, a), body.square(d)});
  Builder b;
  const Id eta = b.input(f64({3}));
  const Id start = b.input(f64({3}));
  const Builder::Loop loop = b.scan(step, Ids{eta}, Ids{start, start, start}, {}, 3);
  const GraphPtr graph = b.finish(loop.carry);
  const JvpResult forward = jvp(*graph, {true, false});
  CHECK(forward.out_nonzero == Mask{true, true, false});
  CHECK(region_of(first(*forward.graph, op::k_scan))->num_carry == 5);
  CHECK(reachable_outputs(*graph, {true, false}) == Mask{true, true, false});
  CHECK(reaching_inputs(*graph, {false, false, true}) == Mask{false, true});
  check_derivatives(*graph, {-1, 1, true, 3});
}

// sums of s = x w, and ys
GraphPtr mapped(bool with_inits, Policy policy = {Keep::carries, {}}) {
  Builder body;
  const Id w = body.input(f64({3, 2})), x = body.input(f64({4, 3}));
  const Id y = body.tanh(body.dot(x, w));
  const GraphPtr each = body.finish({body.sum(body.square(y), {0}), y});
  Builder b;
  const Id weights = b.input(f64({3, 2})), inputs = b.input(f64({5, 4, 3}));
  if (!with_inits) {
    const Builder::Loop loop = b.map(each, Ids{weights}, Ids{inputs}, 5, 1, policy);
    return b.finish({loop.carry[0], loop.ys[0]});
  }
  auto region = std::make_shared<Region>();
  region->body = each;
  region->n = 5;
  region->num_consts = region->num_carry = region->num_xs = 1;
  const Id init = b.input(f64({2}));
  return b.finish(b.emit_region(op::k_map, Ids{weights, init, inputs}, std::move(region)));
}

TEST_CASE("A map is differentiated right to third order, with and without starts of its sums") {
  check_derivatives(*mapped(false), {-1, 1, true, 3});
  check_derivatives(*mapped(true), {-1, 1, true, 3});
}

TEST_CASE("A map's backward pass is a map that recomputes its body and keeps nothing") {
  const GraphPtr graph = mapped(false);
  const VjpResult result = vjp(*graph, {true, true}, {true, true});
  REQUIRE(count_ops(*result.graph, op::k_map) == 1);
  const Region& backward = *region_of(first(*result.graph, op::k_map));
  CHECK(backward.num_consts == 2);  // w, the sum's cotangent
  CHECK(backward.num_carry == 1);   // dW
  CHECK(backward.num_xs == 2);      // x, the stack's cotangent
  CHECK(count_ops(*backward.body, op::k_tanh) == 1);
}

TEST_CASE("A map keeps what its policy says, and its backward pass then recomputes less") {
  const auto with = [](Keep keep) { return mapped(false, {keep, {}}); };
  const auto nodes = [&](Keep keep) {
    const GraphPtr graph = with(keep);
    const VjpResult result =
        vjp(*graph, float_inputs(*graph), Mask(graph->outputs.size(), true), true);
    const Region& forward = *region_of(first(*result.graph, op::k_map));
    const Region& backward = *region_of(first(*result.graph, op::k_map, 1));
    return std::pair(forward.body->outputs.size(), count_nodes(*backward.body));
  };
  for (const Keep keep : {Keep::carries, Keep::dots, Keep::all}) {
    CAPTURE(static_cast<int>(keep));
    check_derivatives(*with(keep), {-1, 1, true, 3});
  }
  CHECK(nodes(Keep::all).first > nodes(Keep::carries).first);
  CHECK(nodes(Keep::all).second < nodes(Keep::carries).second);
}

TEST_CASE("The tangent of a sum's start passes a map by") {
  const GraphPtr graph = mapped(true);
  const JvpResult result = jvp(*graph, {false, false, true});
  CHECK(result.out_nonzero == Mask{true, false});
  CHECK(count_nodes(*result.graph) == count_nodes(*graph));
  const VjpResult backward = vjp(*graph, {false, false, true}, {true, true});
  CHECK(count_nodes(*backward.graph) == 0);
}

// A scan in a map in a scan: `depth` alternating loops around a small body.
GraphPtr nested(int depth, std::int64_t n, Policy policy) {
  Builder b;
  const Id w = b.input(f64({2, 2})), h = b.input(f64({2, 2}));
  if (depth == 0) return b.finish({b.tanh(b.add(b.dot(h, w), h))});
  const GraphPtr inside = nested(depth - 1, n, policy);
  if (depth % 2 == 1) {
    const Builder::Loop loop = b.scan(inside, Ids{w}, Ids{h}, {}, n, false, policy);
    return b.finish({loop.carry[0]});
  }
  const Id copies = b.broadcast(h, {0}, {n, 2, 2});
  const Builder::Loop loop = b.map(inside, Ids{w}, Ids{copies}, n, 0);
  return b.finish({b.mean(loop.ys[0], {0})});
}

TEST_CASE("Loops in loops are differentiated right to second order") {
  for (const Policy& policy : policies()) {
    CAPTURE(static_cast<int>(policy.keep));
    check_derivatives(*nested(3, 2, policy));
  }
}

// H v by forward over reverse.
GraphPtr second_order(const GraphPtr& graph) {
  const VjpResult gradient = vjp(*graph, {true, true}, {true});
  return dce(*jvp(*gradient.graph, {true, true, false}).graph);
}

TEST_CASE("The size of derivatives does not depend on the number of iterations") {
  for (const Policy& policy : policies()) {
    CHECK(count_nodes(*second_order(nested(3, 2, policy))) ==
          count_nodes(*second_order(nested(3, 1000, policy))));
    // An iteration of one loop of length one is a loop still: rematerialisation needs its border.
    CHECK(count_nodes(*second_order(nested(1, 1, policy))) ==
          count_nodes(*second_order(nested(1, 1000, policy))));
  }
}

TEST_CASE("The size of derivatives grows with the square of the nesting depth at most") {
  for (const Policy& policy : policies()) {
    CAPTURE(static_cast<int>(policy.keep));
    const auto size = [&](int depth) {
      return count_nodes(*second_order(nested(depth, 3, policy)));
    };
    const std::int64_t four = size(4), eight = size(8);
    CHECK(eight < 5 * four);
  }
}

}  // namespace
}  // namespace mixflow
