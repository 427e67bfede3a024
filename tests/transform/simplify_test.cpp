#include <doctest/doctest.h>

#include "graph/verify.h"
#include "ops/builder.h"
#include "ops/op_list.h"
#include "ops/reference.h"
#include "transform/random_graph.h"
#include "transform/rebuild.h"
#include "transform/transform.h"

using namespace mixflow;

namespace {

const Type kRow{DType::f64, {3}};

// sin(x) computed twice and an addition of zero, as no builder would leave it.
GraphPtr clumsy() {
  auto graph = std::make_shared<Graph>();
  const auto node = [&](const OpDef& op, std::vector<Id> in, Attrs attrs = {}) {
    const Id id = static_cast<Id>(graph->values.size());
    graph->values.push_back({kRow, static_cast<std::int32_t>(graph->nodes.size()), 0, {}});
    graph->nodes.push_back({&op, std::move(in), {id}, std::move(attrs), {}});
    return id;
  };
  graph->values.push_back({kRow, -1, 0, "x"});
  graph->inputs = {0};
  Attrs zero;
  zero.shape = kRow.shape;
  zero.dtype = DType::f64;
  const Id first = node(op::k_sin, {0});
  const Id second = node(op::k_sin, {0});
  const Id sum = node(op::k_add, {second, node(op::k_full, {}, zero)});
  graph->outputs = {node(op::k_mul, {first, sum})};
  return graph;
}

}  // namespace

TEST_CASE("equal nodes are merged and algebra applied, in bodies too") {
  verify(*clumsy());
  CHECK(count_nodes(*simplify(*clumsy())) == 2);
  Builder b;
  const Id x = b.input(kRow);
  const GraphPtr graph = b.finish(b.scan(clumsy(), {}, Ids{x}, {}, 3).carry);
  CHECK(count_nodes(*graph) == 6);
  const GraphPtr simple = simplify(*graph);
  verify(*simple);
  CHECK(count_nodes(*simple) == 3);
  CHECK(evaluate(*simple, {{1, 2, 3}}) == evaluate(*graph, {{1, 2, 3}}));
}

TEST_CASE("a region is rebuilt once for all its nodes, and kept if nothing changes") {
  Builder b;
  const Id x = b.input(kRow);
  const Ids first = b.scan(clumsy(), {}, Ids{x}, {}, 3).carry;
  const auto region = b.graph().producer(first[0])->attrs.region;
  const Ids second = b.emit_region(op::k_scan, first, region);
  const GraphPtr graph = simplify(*b.finish(second));
  REQUIRE(graph->nodes.size() == 2);
  CHECK(graph->nodes[0].attrs.region != region);
  CHECK(graph->nodes[0].attrs.region == graph->nodes[1].attrs.region);
  const GraphPtr again = simplify(*graph);
  CHECK(again->nodes[0].attrs.region == graph->nodes[0].attrs.region);
  CHECK(same_graph(*again, *graph));
}

TEST_CASE("labels and input names survive") {
  Builder b;
  const Id x = b.input(kRow, "theta");
  Id y;
  {
    const Builder::Scope scope(b, "layers.0");
    y = b.sin(x);
  }
  const GraphPtr graph = simplify(*b.finish({y}));
  CHECK(graph->values[0].name == "theta");
  CHECK(graph->nodes[0].label == "layers.0");
}

TEST_CASE("what the builder made is simple already, and simplifying keeps every bit") {
  for (unsigned seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    testing::RandomGraph random(seed);
    const GraphPtr graph = random.make();
    const GraphPtr simple = simplify(*graph);
    verify(*simple);
    CHECK(same_graph(*simple, *graph));
    const std::vector<Tensor64> in = random.inputs_for(*graph);
    REQUIRE(evaluate(*simple, in) == evaluate(*graph, in));
  }
}
