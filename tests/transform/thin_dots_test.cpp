#include "transform/thin_dots.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "exec/graphs.h"
#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/check_derivatives.h"
#include "transform/rebuild.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

using testing::f64;

GraphPtr thinned(const GraphPtr& graph, double tolerance = 1e-13) {
  const GraphPtr result = thin_dots(*graph);
  Rng rng(7, Purpose::check);
  const testing::Tensors inputs = testing::draw_inputs(*graph, rng);
  CHECK(testing::distance(testing::run(*result, inputs), testing::run(*graph, inputs)) < tolerance);
  return result;
}

struct Product {
  Shape leading;
  std::int64_t m, k, n;
};

GraphPtr product(const Product& p, bool trans_a, bool trans_b) {
  const auto matrix = [&](std::int64_t rows, std::int64_t columns, bool transposed) {
    Shape shape = p.leading;
    shape.push_back(transposed ? columns : rows);
    shape.push_back(transposed ? rows : columns);
    return f64(shape);
  };
  Builder b;
  const Id x = b.input(matrix(p.m, p.k, trans_a)), y = b.input(matrix(p.k, p.n, trans_b));
  return b.finish({b.dot(x, y, trans_a, trans_b)});
}

template <class Check>
void for_each_transposed(const Product& p, const Check& check) {
  CAPTURE(to_string(p.leading));
  CAPTURE(to_string(Shape{p.m, p.k, p.n}));
  for (const bool trans_a : {false, true}) {
    CAPTURE(trans_a);
    for (const bool trans_b : {false, true}) {
      CAPTURE(trans_b);
      check(product(p, trans_a, trans_b));
    }
  }
}

// Whether a value of two axes or more ends in an axis of one, but where it only takes that shape.
bool has_unit_columns(const Graph& graph) {
  return std::ranges::any_of(graph.nodes, [&](const Node& node) {
    const Shape& shape = graph.type(node.out[0]).shape;
    return node.op != &op::k_reshape && shape.size() >= 2 && shape.back() == 1;
  });
}

TEST_CASE("a product with a side of one is none any more") {
  for (const Product& p : {
           Product{{}, 5, 1, 4},      // outer products
           Product{{1}, 3, 1, 4},     //
           Product{{1, 1}, 4, 1, 2},  //
           Product{{}, 5, 4, 1},      // times a column
           Product{{}, 1, 4, 5},      // a row times
           Product{{}, 1, 4, 1},      //
           Product{{}, 5, 1, 1},      // with two sides of one, or three
           Product{{1}, 1, 1, 3},     //
           Product{{}, 300, 1, 300},  // of any size
           Product{{}, 1, 1, 1},      //
           Product{{}, 32, 64, 1},    // the largest
           Product{{}, 1, 32, 64},    //
       }) {
    for_each_transposed(p, [](const GraphPtr& graph) {
      REQUIRE(count_ops(*graph, op::k_dot) == 1);
      CHECK(count_ops(*thinned(graph), op::k_dot) == 0);
    });
  }
}

TEST_CASE("large matrices, stacks of them and products without a side of one stay") {
  for (const Product& p : {Product{{}, 683, 3, 1}, Product{{}, 1, 3, 683}, Product{{}, 2, 2, 2},
                           Product{{2}, 3, 1, 4}, Product{{2}, 3, 4, 1}, Product{{2}, 1, 4, 3}}) {
    for_each_transposed(
        p, [](const GraphPtr& graph) { CHECK(same_graph(*thin_dots(*graph), *graph)); });
  }
}

// The squared error of relu(x w1 + b1) w2 + b2 for numbers x and y.
GraphPtr regression() {
  constexpr std::int64_t kRows = 5, kHidden = 4;
  Builder b;
  const Id w1 = b.input(f64({1, kHidden})), b1 = b.input(f64({kHidden}));
  const Id w2 = b.input(f64({kHidden, 1})), b2 = b.input(f64({1}));
  const Id x = b.input(f64({kRows, 1})), y = b.input(f64({kRows, 1}));
  const Id hidden = b.relu(b.add(b.dot(x, w1), b1));
  return b.finish({b.sum_all(b.square(b.sub(b.add(b.dot(hidden, w2), b2), y)))});
}

TEST_CASE("between thin products no value keeps a last axis of one") {
  const GraphPtr loss = regression();
  const GraphPtr gradient = vjp(*loss, Mask(6, true), {true}, true).graph;
  for (const auto& [graph, dots] : {std::pair{loss, 2}, std::pair{gradient, 6}}) {
    REQUIRE(count_ops(*graph, op::k_dot) == dots);
    REQUIRE(has_unit_columns(*graph));
    const GraphPtr thin = thinned(graph);
    CHECK(count_ops(*thin, op::k_dot) == 0);
    CHECK(!has_unit_columns(*thin));
  }
}

TEST_CASE("a last axis of one goes from elementwise ops, sums over any axes and broadcasts") {
  Builder b;
  const Id scalar = b.input(f64({})), one = b.input(f64({1})), row = b.input(f64({3}));
  const Id column = b.input(f64({3, 1})), stack = b.input(f64({2, 3, 1}));
  const Id mask = b.less(column, b.broadcast(row, {1}, {3, 1}));
  const Id chosen = b.select(mask, b.broadcast(one, {0}, {3, 1}), b.named(b.tanh(column), "t"));
  const Id spread = b.mul(stack, b.broadcast(chosen, {0}, {2, 3, 1}));
  const Id shifted = b.add(b.stop_gradient(spread), b.broadcast(scalar, {0, 1, 2}, {2, 3, 1}));
  Ids results{chosen, shifted};
  for (const Shape& axes : {Shape{0}, Shape{1}, Shape{2}, Shape{0, 1}, Shape{0, 2}, Shape{1, 2}}) {
    results.push_back(b.sum(shifted, axes));
  }
  for (const Shape& axes : {Shape{0}, Shape{1}, Shape{0, 1}}) {
    results.push_back(b.sum(chosen, axes));
  }
  const GraphPtr thin = thinned(b.finish(results));
  CHECK(!has_unit_columns(*thin));
  CHECK(std::ranges::any_of(thin->nodes, [](const Node& node) { return node.attrs.name == "t"; }));
  // Over 0, 1 and both; of `chosen` over 0. A sum over an axis of one alone is none.
  CHECK(count_ops(*thin, op::k_sum) == 4);
}

TEST_CASE("bodies of loops too, and a body that two loops share stays one") {
  Builder body;
  const Id w = body.input(f64({3, 3})), c = body.input(f64({3, 1}));
  const auto region = std::make_shared<Region>(Region{
      .body = body.finish({body.tanh(body.dot(w, c))}), .n = 2, .num_consts = 1, .num_carry = 1});
  Builder b;
  const Id weights = b.input(f64({3, 3}));
  Id carry = b.input(f64({3, 1}));
  for (int i = 0; i < 2; ++i) carry = b.emit_region(op::k_scan, Ids{weights, carry}, region)[0];
  const GraphPtr thin = thinned(b.finish({carry}));
  REQUIRE(thin->nodes.size() == 2);
  CHECK(thin->nodes[0].attrs.region == thin->nodes[1].attrs.region);
  CHECK(count_ops(*thin, op::k_dot) == 0);
  CHECK(!has_unit_columns(*region_of(thin->nodes[0])->body));
}

TEST_CASE("random programs keep their values, those whose axes are of length one too") {
  int fewer = 0;
  for (unsigned seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    thinned(testing::random_program(seed), 1e-12);
    const GraphPtr loops = testing::random_loops(5 * seed);  // of one iteration
    const GraphPtr thin = thinned(loops, 1e-12);
    if (count_ops(*thin, op::k_dot) < count_ops(*loops, op::k_dot)) ++fewer;
  }
  CHECK(fewer > 30);
}

}  // namespace
}  // namespace mixflow
