#include "graph/graph.h"

#include <doctest/doctest.h>

#include "graph/infer_region.h"
#include "graph/toy_ops.h"
#include "util/error.h"

using namespace mixflow;

TEST_CASE("types know their size and their spelling") {
  CHECK(to_string(Type{DType::f32, {2, 3}}) == "f32[2,3]");
  CHECK(to_string(Type{DType::i32, {}}) == "i32[]");
  CHECK(Type{DType::f64, {2, 3}}.bytes() == 48);
  CHECK(Type{DType::f32, {}}.bytes() == 4);
  CHECK(Type{DType::f32, {2, 0}}.elements() == 0);
}

TEST_CASE("a tensor whose size no int64 holds is named, not counted") {
  CHECK(num_elements({1 << 24, 1 << 24}) == kMostElements);
  for (const Shape& shape : {Shape{1 << 24, 1 << 24, 2}, Shape{4294967296, 4294967296, 16}}) {
    CHECK_THROWS_WITH_AS(num_elements(shape, "layers.1.weight"),
                         doctest::Contains("layers.1.weight of shape ["), UserError);
  }
}

TEST_CASE("stacked and sliced undo each other, and a scalar cannot be sliced") {
  const Type type{DType::f32, {3}};
  CHECK(stacked(type, 5) == Type{DType::f32, {5, 3}});
  CHECK(sliced(stacked(type, 5)) == type);
  CHECK_THROWS_AS(sliced(Type{DType::f32, {}}), InternalError);
}

TEST_CASE("nodes are counted with those of bodies, and found by the values they make") {
  const Graph graph = toy::prefix_sums(4);
  CHECK(count_nodes(graph) == 2);
  CHECK(count_ops(graph, toy::kAdd) == 1);
  CHECK(count_ops(graph, toy::kScan) == 1);
  CHECK(graph.producer(graph.inputs[0]) == nullptr);
  CHECK(graph.producer(graph.outputs[1]) == &graph.nodes[0]);
}

TEST_CASE("the shape rule of scan stacks ys and keeps carries") {
  const Graph graph = toy::prefix_sums(4);
  const Region& region = *graph.nodes[0].attrs.region;
  const std::vector<Type> in{{DType::f32, {2}}, {DType::f32, {4, 2}}};
  CHECK(infer_region("scan", in, region) ==
        std::vector<Type>{{DType::f32, {2}}, {DType::f32, {4, 2}}});
  const std::vector<Type> too_long{{DType::f32, {2}}, {DType::f32, {5, 2}}};
  CHECK_THROWS_AS(infer_region("scan", too_long, region), InternalError);
  CHECK_THROWS_AS(infer_region("scan", std::vector<Type>{in[0]}, region), InternalError);
}

TEST_CASE("the shape rule of map takes a sum's init that the body does not see") {
  Region region = *toy::prefix_sums(3).nodes[0].attrs.region;
  region.num_consts = 1;  // the body's first input; its first output is the sum
  const std::vector<Type> in{{DType::f32, {2}}, {DType::f32, {2}}, {DType::f32, {3, 2}}};
  CHECK(infer_region("map", in, region) ==
        std::vector<Type>{{DType::f32, {2}}, {DType::f32, {3, 2}}});
  std::vector<Type> wrong_init = in;
  wrong_init[1] = {DType::f32, {}};
  CHECK_THROWS_AS(infer_region("map", wrong_init, region), InternalError);
}

TEST_CASE("the shape rule of grad asks for a scalar loss and float parameters") {
  auto loss = std::make_shared<Graph>();
  const Id theta = toy::add_input(*loss, {DType::f32, {}});
  const Id rest = toy::add_input(*loss, {DType::f32, {}});
  loss->outputs = {toy::add_node(*loss, toy::kAdd, {theta, rest}, {{DType::f32, {}}})[0]};
  Region region;
  region.body = loss;
  region.num_carry = 1;
  region.num_xs = 1;
  const std::vector<Type> scalars(2, Type{DType::f32, {}});
  CHECK(infer_region("grad", scalars, region) == scalars);  // the loss, d loss/d theta
  region.num_carry = 2;
  CHECK_THROWS_AS(infer_region("grad", scalars, region), InternalError);

  const std::vector<Type> vectors(2, Type{DType::f32, {2}});
  region.body = toy::prefix_sums(3).nodes[0].attrs.region->body;
  region.num_carry = 1;
  CHECK_THROWS_AS(infer_region("grad", vectors, region), InternalError);
}
