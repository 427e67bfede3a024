#include "transform/merge_maps.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "graph/verify.h"
#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/random_graph.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

using testing::RandomGraph;

constexpr std::int64_t kBlocks = 3;
const Type kSquare{DType::f64, {4, 4}}, kStack{DType::f64, {kBlocks, 4, 4}};

// Merged, with the values of before.
GraphPtr merged(const GraphPtr& graph) {
  const GraphPtr result = merge_maps(*graph);
  verify(*result);
  const std::vector<Tensor64> inputs = RandomGraph(3).inputs_for(*graph);
  const std::vector<Tensor64> expected = evaluate(*graph, inputs),
                              found = evaluate(*result, inputs);
  REQUIRE(found.size() == expected.size());
  for (std::size_t k = 0; k < found.size(); ++k) CHECK(found[k] == expected[k]);
  return result;
}

std::int64_t maps(const Graph& graph) { return count_ops(graph, op::k_map); }

// (w | x) -> (sum of squares of x w | x w), the sum over all blocks.
GraphPtr value_body() {
  Builder b;
  const Id w = b.input(kSquare), x = b.input(kSquare);
  const Id y = b.dot(x, w);
  return b.finish({b.sum_all(b.square(y)), y});
}

// (w, c | x, z) -> (x^T (x w) c | tanh(x w) + z): all that value_body computes, and more.
GraphPtr gradient_body(double scale = 2) {
  Builder b;
  const Id w = b.input(kSquare), c = b.input(kSquare), x = b.input(kSquare), z = b.input(kSquare);
  const Id y = b.dot(x, w);
  return b.finish({b.mul(b.dot(x, b.mul(y, c), true), scale), b.add(b.tanh(y), z)});
}

struct Pair {
  Builder b;
  Id w = b.input(kSquare), c = b.input(kSquare), x = b.input(kStack), z = b.input(kStack);

  Builder::Loop value() { return b.map(value_body(), Ids{w}, Ids{x}, kBlocks, 1); }
  Builder::Loop gradient(Id with_c, Id with_z) {
    return b.map(gradient_body(), Ids{w, with_c}, Ids{x, with_z}, kBlocks, 1);
  }
};

TEST_CASE("a loss by blocks and its gradient become one map") {
  Builder loss;
  const Id w = loss.input(kSquare), x = loss.input(kStack);
  const GraphPtr graph = loss.finish({loss.map(value_body(), Ids{w}, Ids{x}, kBlocks, 1).carry[0]});
  const GraphPtr both = clean(*vjp(*graph, {true, true}, {true}, true).graph);
  REQUIRE(maps(*both) == 2);
  const GraphPtr one = merged(both);
  CHECK(maps(*one) == 1);
  CHECK(count_ops(*one, op::k_dot) == count_ops(*both, op::k_dot) - 1);
  CHECK(count_nodes(*merge_maps(*one)) == count_nodes(*one));
}

TEST_CASE("sums and stacks of both maps keep their places, and readers between them are served") {
  Pair p;
  const auto value = p.value();
  const Id between = p.b.mul(p.b.exp(value.ys[0]), p.b.broadcast_to(value.carry[0], kStack.shape));
  const auto gradient = p.gradient(p.c, p.z);
  const GraphPtr graph =
      p.b.finish({gradient.ys[0], value.carry[0], between, gradient.carry[0], value.ys[0]});
  REQUIRE(maps(*graph) == 2);
  CHECK(maps(*merged(graph)) == 1);
}

TEST_CASE("a map that needs the other's result stays behind it") {
  for (const bool directly : {true, false}) {
    Pair p;
    const auto value = p.value();
    const Id z = directly ? value.ys[0] : p.b.tanh(p.b.add(value.ys[0], p.z));
    const auto gradient = p.gradient(p.c, z);
    CHECK(maps(*merged(p.b.finish({value.carry[0], gradient.carry[0], gradient.ys[0]}))) == 2);
  }
}

TEST_CASE("a map is not merged into one that waits for a map merged with it") {
  // second needs what third gives; first could go into either, third into none after that.
  Pair p;
  const auto first = p.value();
  const auto third = p.gradient(p.c, p.z);
  const auto second =
      p.b.map(gradient_body(3), Ids{p.w, third.carry[0]}, Ids{p.x, third.ys[0]}, kBlocks, 1);
  const GraphPtr graph = p.b.finish({first.carry[0], second.carry[0], second.ys[0]});
  CHECK(maps(*merged(graph)) == 2);
}

TEST_CASE("maps over other elements, of other lengths or with products of their own stay apart") {
  const auto stay_apart = [](const GraphPtr& graph) { CHECK(maps(*merged(graph)) == 2); };
  {
    Pair p;  // first reads an x that second does not
    const auto value = p.b.map(value_body(), Ids{p.w}, Ids{p.z}, kBlocks, 1);
    const auto gradient = p.b.map(gradient_body(), Ids{p.w, p.c}, Ids{p.x, p.x}, kBlocks, 1);
    stay_apart(p.b.finish({value.carry[0], gradient.carry[0]}));
  }
  {
    Pair p;  // first has a product that second lacks
    const auto value = p.b.map(value_body(), Ids{p.c}, Ids{p.x}, kBlocks, 1);
    const auto gradient = p.gradient(p.c, p.z);
    stay_apart(p.b.finish({value.carry[0], gradient.carry[0]}));
  }
  {
    Pair p;  // of half as many, larger blocks
    const Id whole = p.b.input({DType::f64, {2, 4, 4}});
    const auto value = p.b.map(value_body(), Ids{p.w}, Ids{whole}, 2, 1);
    const auto gradient = p.gradient(p.c, p.z);
    stay_apart(p.b.finish({value.carry[0], gradient.carry[0]}));
  }
}

TEST_CASE("inside loops too, and bodies that are shared stay shared") {
  Pair inner;
  const auto value = inner.value();
  const auto gradient = inner.gradient(inner.c, inner.z);
  const GraphPtr body = inner.b.finish({gradient.carry[0], value.carry[0]});
  auto region = std::make_shared<Region>();
  region->body = body;
  region->n = 2;
  region->num_consts = 3;
  region->num_carry = 0;
  region->num_xs = 1;
  Builder b;
  const Id w = b.input(kSquare), c = b.input(kSquare), x = b.input(kStack);
  const Id z = b.input({DType::f64, {2, kBlocks, 4, 4}}), more = b.input(b.type(z));
  const Ids first = b.emit_region(op::k_scan, Ids{w, c, x, z}, region);
  const Ids second = b.emit_region(op::k_scan, Ids{w, c, x, more}, region);
  const GraphPtr graph = merged(b.finish({first[0], first[1], second[0], second[1]}));
  std::vector<const Region*> regions;
  for (const Node& node : graph->nodes) {
    if (node.op == &op::k_scan) regions.push_back(region_of(node));
  }
  REQUIRE(regions.size() == 2);
  CHECK(regions[0] == regions[1]);
  CHECK(maps(*regions[0]->body) == 1);
}

TEST_CASE("random graphs and their gradients keep their values, and a second pass finds nothing") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    GraphPtr graph = RandomGraph(seed).make();
    if (seed % 2 == 0) {
      const Mask active(graph->inputs.size(), true), all(graph->outputs.size(), true);
      graph = clean(*vjp(*graph, active, all, true).graph);
    }
    const GraphPtr once = merged(graph);
    CHECK(count_nodes(*merge_maps(*once)) == count_nodes(*once));
  }
}

}  // namespace
}  // namespace mixflow
