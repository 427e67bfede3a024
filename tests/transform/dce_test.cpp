#include <doctest/doctest.h>

#include <cmath>

#include "graph/verify.h"
#include "ops/builder.h"
#include "ops/op_list.h"
#include "ops/reference.h"
#include "transform/random_graph.h"
#include "transform/transform.h"

using namespace mixflow;

namespace {

const Type kScalar{DType::f64, {}};

// The only structural node of a graph that has one.
const Node* loop_of(const Graph& graph) {
  const Node* found = nullptr;
  for (const Node& node : graph.nodes) {
    if (region_of(node) == nullptr) continue;
    REQUIRE(found == nullptr);
    found = &node;
  }
  return found;
}

// Nodes that do work: numbers move into bodies, and repeated values out of loops, one per place.
std::int64_t count_work(const Graph& graph) {
  return count_nodes(graph) - count_ops(graph, op::k_full) - count_ops(graph, op::k_broadcast);
}

std::vector<Tensor64> run(const GraphPtr& graph, const std::vector<Tensor64>& inputs) {
  verify(*graph);
  return evaluate(*graph, inputs);
}

}  // namespace

TEST_CASE("a carry that no result depends on goes, one that feeds a result stays") {
  Builder body;
  const Id a = body.input(testing::kRow);
  const Id c = body.input(testing::kRow);
  const Id unused = body.input(testing::kRow);
  const GraphPtr step = body.finish({body.add(a, c), body.sin(c), body.cos(unused)});
  Builder b;
  const Id x = b.input(testing::kRow);
  const Id y = b.exp(x);
  const GraphPtr graph = b.finish({b.scan(step, {}, Ids{x, x, y}, {}, 4).carry[0]});
  const GraphPtr trimmed = dce(*graph);
  const Node* loop = loop_of(*trimmed);
  CHECK(region_of(*loop)->num_carry == 2);
  CHECK(loop->out.size() == 2);
  CHECK(count_ops(*trimmed, op::k_cos) == 0);
  CHECK(count_ops(*trimmed, op::k_exp) == 0);
  CHECK(run(trimmed, {{1, 2, 3}}) == run(graph, {{1, 2, 3}}));
}

TEST_CASE("carries that only keep each other alive go together") {
  Builder body;
  const Id a = body.input(testing::kRow);
  const Id p = body.input(testing::kRow);
  const Id q = body.input(testing::kRow);
  const GraphPtr step = body.finish({body.sin(a), body.cos(q), body.exp(p)});
  Builder b;
  const Id x = b.input(testing::kRow);
  const GraphPtr trimmed = dce(*b.finish({b.scan(step, {}, Ids{x, x, x}, {}, 4).carry[0]}));
  CHECK(region_of(*loop_of(*trimmed))->num_carry == 1);
  CHECK(count_nodes(*trimmed) == 2);
}

TEST_CASE("unused ys, constants and xs of a scan go, and equal ones are merged") {
  Builder body;
  const Id used = body.input(testing::kRow);
  const Id again = body.input(testing::kRow);
  const Id unused = body.input(testing::kRow);
  const Id carry = body.input(testing::kRow);
  const Id x = body.input(testing::kRow);
  const Id x_again = body.input(testing::kRow);
  const Id x_unused = body.input(testing::kRow);
  const Id y = body.mul(body.add(carry, used), x);
  const Id same_outside = body.mul(body.add(carry, again), x_again);
  const GraphPtr step =
      body.finish({body.add(carry, x), y, body.mul(unused, x_unused), y, same_outside});
  Builder b;
  const Id c = b.input(testing::kRow);
  const Id other = b.input(testing::kRow);
  const Id xs = b.input({DType::f64, {4, 3}});
  const Builder::Loop loop = b.scan(step, Ids{c, c, other}, Ids{c}, Ids{xs, xs, b.sin(xs)}, 4);
  const GraphPtr graph = b.finish({loop.ys[0], loop.ys[2], loop.ys[3]});
  const GraphPtr trimmed = dce(*graph);
  const Node* node = loop_of(*trimmed);
  CHECK(region_of(*node)->num_consts == 1);
  CHECK(region_of(*node)->num_xs == 1);
  CHECK(node->out.size() == 2);
  CHECK(trimmed->outputs[0] == trimmed->outputs[1]);
  CHECK(trimmed->outputs[0] == trimmed->outputs[2]);
  CHECK(trimmed->inputs.size() == 3);
  const std::vector<Tensor64> in{{1, 2, 3}, {0, 0, 0}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
  CHECK(run(trimmed, in) == run(graph, in));
}

TEST_CASE("an invariant carry becomes a constant and its result the init") {
  Builder body;
  const Id fixed = body.input(testing::kRow);
  const Id state = body.input(testing::kRow);
  const GraphPtr step = body.finish({fixed, body.add(state, fixed)});
  Builder b;
  const Id x = b.input(testing::kRow);
  const Id y = b.input(testing::kRow);
  const Builder::Loop loop = b.scan(step, {}, Ids{x, y}, {}, 3);
  const GraphPtr graph = b.finish({loop.carry[0], loop.carry[1]});
  const GraphPtr trimmed = dce(*graph);
  CHECK(trimmed->outputs[0] == trimmed->inputs[0]);
  CHECK(region_of(*loop_of(*trimmed))->num_consts == 1);
  CHECK(region_of(*loop_of(*trimmed))->num_carry == 1);
  CHECK(run(trimmed, {{1, 2, 3}, {4, 5, 6}}) == run(graph, {{1, 2, 3}, {4, 5, 6}}));
}

TEST_CASE("ys that are an input, a constant or a number need no loop") {
  Builder body;
  const Id c = body.input(testing::kRow);
  const Id carry = body.input(testing::kRow);
  const Id x = body.input(testing::kRow);
  const GraphPtr step = body.finish({body.add(carry, x), x, c, body.full(5, DType::f64)});
  Builder b;
  const Id constant = b.input(testing::kRow);
  const Id xs = b.input({DType::f64, {4, 3}});
  const Builder::Loop loop = b.scan(step, Ids{constant}, Ids{constant}, Ids{xs}, 4, true);
  const GraphPtr graph = b.finish(loop.ys);
  const GraphPtr trimmed = dce(*graph);
  CHECK(count_ops(*trimmed, op::k_scan) == 0);
  CHECK(trimmed->outputs[0] == trimmed->inputs[1]);
  const std::vector<Tensor64> in{{1, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
  CHECK(run(trimmed, in) == run(graph, in));
}

TEST_CASE("numbers outside a loop become numbers inside, where algebra sees them") {
  Builder body;
  const Id one = body.input(testing::kRow);
  const Id state = body.input(testing::kRow);
  const Id zero = body.input(testing::kRow);
  const GraphPtr step = body.finish({body.add(body.mul(body.sin(state), one), zero)});
  Builder b;
  const Id x = b.input(testing::kRow);
  const Id zeros = b.full(0, DType::f64, {4, 3});
  const GraphPtr trimmed =
      dce(*b.finish(b.scan(step, Ids{b.full_like(x, 1)}, Ids{x}, Ids{zeros}, 4).carry));
  CHECK(count_nodes(*trimmed) == 2);  // the scan and its sine
  CHECK(loop_of(*trimmed)->in.size() == 1);
}

TEST_CASE("a stack that repeats one slice is a constant of the loop") {
  Builder body;
  const Id state = body.input(testing::kRow);
  const Id x = body.input(testing::kRow);
  const Id y = body.input(testing::kRow);
  const GraphPtr step = body.finish({body.add(body.sin(state), x), y});
  Builder b;
  const Id row = b.input(testing::kRow);
  const Id scalar = b.input({DType::f64, {}});
  const Id rows = b.broadcast(row, {0}, {4, 3});
  const Id same = b.broadcast(scalar, {0, 1}, {4, 3});
  const Builder::Loop loop = b.scan(step, {}, Ids{row}, Ids{rows, same}, 4);
  const GraphPtr graph = b.finish({loop.carry[0], loop.ys[0]});
  const GraphPtr trimmed = dce(*graph);
  CHECK(region_of(*loop_of(*trimmed))->num_xs == 0);
  CHECK(region_of(*loop_of(*trimmed))->num_consts == 1);
  CHECK(trimmed->outputs[1] != loop_of(*trimmed)->out[0]);
  CHECK(loop_of(*trimmed)->out.size() == 1);
  CHECK(run(trimmed, {{1, 2, 3}, {4}}) == run(graph, {{1, 2, 3}, {4}}));
}

TEST_CASE("unused sums, ys and inputs of a map go, and sums of nothing are the init") {
  Builder body;
  const Id c = body.input(testing::kRow);
  const Id x = body.input(testing::kRow);
  const Id unused = body.input(testing::kRow);
  const Id dead = body.sum_all(body.mul(unused, c));
  const GraphPtr term =
      body.finish({dead, body.zeros_like(x), body.sum_all(x), body.sin(x), body.cos(unused)});
  Builder b;
  const Id constant = b.input(testing::kRow);
  const Id xs = b.input({DType::f64, {4, 3}});
  const Builder::Loop loop = b.map(term, Ids{constant}, Ids{xs, b.exp(xs)}, 4, 3);
  const GraphPtr graph = b.finish({loop.carry[1], loop.carry[2], loop.ys[0]});
  const GraphPtr trimmed = dce(*graph);
  const Region& region = *region_of(*loop_of(*trimmed));
  CHECK(region.num_consts == 0);
  CHECK(region.num_carry == 1);
  CHECK(region.num_xs == 1);
  CHECK(count_ops(*trimmed, op::k_exp) == 0);
  const std::vector<Tensor64> in{{1, 2, 3}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
  CHECK(run(trimmed, in) == run(graph, in));
}

TEST_CASE("a grad drops inputs that its loss does not read and gradients that nobody uses") {
  Builder body;
  const Id theta = body.input(testing::kRow);
  const Id also = body.input(testing::kRow);
  const Id data = body.input(testing::kRow);
  body.input(testing::kRow);
  const Id loss = body.sum_all(body.mul(body.mul(theta, also), data));
  const GraphPtr graph_of_loss = body.finish({loss});
  Builder b;
  const Id x = b.input(testing::kRow);
  const Id y = b.input(testing::kRow);
  const Builder::Grad grad =
      b.grad(graph_of_loss, Ids{x, y}, Ids{b.sin(x), b.cos(x)}, GradMode::mixed);
  SUBCASE("one gradient") {
    const GraphPtr trimmed = dce(*b.finish({grad.grads[1]}));
    const Node& node = trimmed->nodes.back();
    CHECK(region_of(node)->num_carry == 1);
    CHECK(region_of(node)->num_xs == 2);
    CHECK(node.in[0] == trimmed->inputs[1]);
    CHECK(trimmed->outputs[0] == node.out[1]);
    CHECK(count_ops(*trimmed, op::k_cos) == 0);
    verify(*trimmed);
  }
  SUBCASE("no gradient: the loss alone remains") {
    const GraphPtr graph = b.finish({grad.loss});
    const GraphPtr trimmed = dce(*graph);
    CHECK(count_ops(*trimmed, op::k_grad) == 0);
    CHECK(run(trimmed, {{1, 2, 3}, {4, 5, 6}})[0][0] ==
          doctest::Approx(4 * std::sin(1.0) + 10 * std::sin(2.0) + 18 * std::sin(3.0)));
  }
}

TEST_CASE("dead code is found through loops in loops") {
  Builder inner;
  const Id kept = inner.input(testing::kRow);
  const Id lost = inner.input(testing::kRow);
  const GraphPtr inner_step = inner.finish({inner.sin(kept), inner.cos(lost)});
  Builder outer;
  const Id state = outer.input(testing::kRow);
  const Id extra = outer.input(testing::kRow);
  const Ids both = outer.scan(inner_step, {}, Ids{state, extra}, {}, 2).carry;
  const GraphPtr outer_step = outer.finish(both);
  Builder b;
  const Id x = b.input(testing::kRow);
  const Id y = b.input(testing::kRow);
  const GraphPtr trimmed = dce(*b.finish({b.scan(outer_step, {}, Ids{x, y}, {}, 2).carry[0]}));
  CHECK(count_ops(*trimmed, op::k_cos) == 0);
  CHECK(count_nodes(*trimmed) == 3);
}

TEST_CASE(
    "nodes that share a region still share it when trimmed alike, and keep it when untouched") {
  Builder body;
  const Id state = body.input(testing::kRow);
  const Id dead = body.input(testing::kRow);
  const GraphPtr step = body.finish({body.sin(state), body.cos(dead)});
  Builder b;
  const Id x = b.input(testing::kRow);
  const Ids first = b.scan(step, {}, Ids{x, x}, {}, 2).carry;
  const auto region = b.graph().producer(first[0])->attrs.region;
  const Ids second = b.emit_region(op::k_scan, Ids{first[0], x}, region);
  const GraphPtr trimmed = dce(*b.finish({second[0]}));
  REQUIRE(trimmed->nodes.size() == 2);
  CHECK(trimmed->nodes[0].attrs.region == trimmed->nodes[1].attrs.region);
  const GraphPtr again = dce(*trimmed);
  CHECK(again->nodes[0].attrs.region == trimmed->nodes[0].attrs.region);
}

TEST_CASE("dce and clean keep the value of random graphs to the last bit and add no work") {
  int shrunk = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    testing::RandomGraph random(seed);
    const GraphPtr graph = random.make();
    const std::vector<Tensor64> in = random.inputs_for(*graph);
    const std::vector<Tensor64> expected = run(graph, in);
    const GraphPtr trimmed = dce(*graph);
    const GraphPtr cleaned = clean(*graph);
    REQUIRE(run(trimmed, in) == expected);
    REQUIRE(run(cleaned, in) == expected);
    CHECK(count_work(*trimmed) <= count_work(*graph));
    CHECK(count_work(*cleaned) <= count_work(*trimmed));
    if (count_work(*cleaned) < count_work(*graph)) ++shrunk;
  }
  CHECK(shrunk > 100);
}
