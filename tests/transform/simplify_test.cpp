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

// sin(x) computed twice and an addition of zero, as no builder would leave it.
GraphPtr clumsy() {
  auto graph = std::make_shared<Graph>();
  const auto node = [&](const OpDef& op, std::vector<Id> in, Attrs attrs = {}) {
    const Id id = static_cast<Id>(graph->values.size());
    graph->values.push_back({testing::kRow, static_cast<std::int32_t>(graph->nodes.size()), 0, {}});
    graph->nodes.push_back({&op, std::move(in), {id}, std::move(attrs), {}});
    return id;
  };
  graph->values.push_back({testing::kRow, -1, 0, "x"});
  graph->inputs = {0};
  Attrs zero;
  zero.shape = testing::kRow.shape;
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
  const Id x = b.input(testing::kRow);
  const GraphPtr graph = b.finish(b.scan(clumsy(), {}, Ids{x}, {}, 3).carry);
  CHECK(count_nodes(*graph) == 6);
  const GraphPtr simple = simplify(*graph);
  verify(*simple);
  CHECK(count_nodes(*simple) == 3);
  CHECK(evaluate(*simple, {{1, 2, 3}}) == evaluate(*graph, {{1, 2, 3}}));
}

TEST_CASE("a region is rebuilt once for all its nodes, and kept if nothing changes") {
  Builder b;
  const Id x = b.input(testing::kRow);
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

TEST_CASE("a slice of a concat that is exactly one part is that part, any other stays a slice") {
  for (const bool columns : {false, true}) {
    const auto shape = [&](std::int64_t along, std::int64_t across) {
      return columns ? Shape{across, along} : Shape{along, across};
    };
    for (std::int64_t begin = 0; begin < 5; ++begin) {
      for (std::int64_t end = begin + 1; end <= 5; ++end) {
        for (const std::int64_t left : {0, 1}) {
          CAPTURE(columns);
          CAPTURE(begin);
          CAPTURE(end);
          CAPTURE(left);
          Builder b, c;
          Ids parts;  // 0 to 2, 2 to 3 and 3 to 5, all 3 across
          for (const std::int64_t size : {2, 1, 2}) {
            parts.push_back(b.input({DType::f64, shape(size, 3)}));
          }
          const Id whole = b.concat(parts, columns ? 1 : 0);
          const Id cut = b.slice(whole, shape(begin, left), shape(end, 3));
          Id expected = kNone;
          if (begin == 0 && end == 2) expected = parts[0];
          if (begin == 2 && end == 3) expected = parts[1];
          if (begin == 3 && end == 5) expected = parts[2];
          if (begin == 0 && end == 5) expected = whole;
          if (expected != kNone && left == 0) {
            CHECK(cut == expected);
          } else {
            REQUIRE(b.graph().producer(cut) != nullptr);
            CHECK(b.graph().producer(cut)->op == &op::k_slice);
          }
          const GraphPtr graph = b.finish({cut, whole});
          const auto found = evaluate(*graph, testing::RandomGraph(1).inputs_for(*graph));
          const Id stored = c.input({DType::f64, shape(5, 3)});
          const GraphPtr plain = c.finish({c.slice(stored, shape(begin, left), shape(end, 3))});
          CHECK(found[0] == evaluate(*plain, {found[1]})[0]);
        }
      }
    }
  }
}

TEST_CASE("labels and input names survive") {
  Builder b;
  const Id x = b.input(testing::kRow, "theta");
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
