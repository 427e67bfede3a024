#include "transform/move_scales.h"

#include <doctest/doctest.h>

#include <memory>
#include <utility>

#include "exec/graphs.h"
#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/check_derivatives.h"
#include "transform/merge_dots.h"
#include "transform/rebuild.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

using testing::f64;

GraphPtr moved(const GraphPtr& graph, double tolerance = 1e-13) {
  const GraphPtr result = move_scales(*graph);
  Rng rng(7, Purpose::check);
  const testing::Tensors inputs = testing::draw_inputs(*graph, rng);
  CHECK(testing::distance(testing::run(*result, inputs), testing::run(*graph, inputs)) < tolerance);
  return result;
}

void check_stays(const GraphPtr& graph) { CHECK(same_graph(*move_scales(*graph), *graph)); }

// The elements of all values that elementwise ops make, constants aside.
std::int64_t elementwise_elements(const Graph& graph) {
  std::int64_t sum = 0;
  for (const Node& node : graph.nodes) {
    const bool elementwise = node.op == &op::k_mul || node.op == &op::k_neg ||
                             node.op == &op::k_sub || node.op == &op::k_add;
    if (elementwise) sum += graph.type(node.out[0]).elements();
  }
  return sum;
}

constexpr std::int64_t kScaledRows = 2, kIn = 12, kOut = 10;
const Type kX = f64({kScaledRows, kIn}), kY = f64({kScaledRows, kOut}), kW = f64({kIn, kOut});

TEST_CASE("a scaled matrix leaves its number to the smaller factor, on either side") {
  for (const bool right : {false, true}) {
    for (const bool scalar : {false, true}) {
      CAPTURE(right);
      CAPTURE(scalar);
      Builder b;
      const Id x = b.input(kX), y = b.input(kY), w = b.input(kW), s = b.input(f64({}));
      const Id scaled = scalar ? b.neg(b.mul(w, s)) : b.mul(b.neg(w), 0.1);
      // Two products read it.
      const Id first = right ? b.dot(x, scaled) : b.dot(scaled, x, true, true);
      const Id second = right ? b.dot(y, scaled, false, true) : b.dot(scaled, y, false, true);
      const GraphPtr graph = moved(b.finish({first, second}));
      CHECK(count_ops(*graph, op::k_dot) == 2);
      // One op for a number, sign included, two for a value and a sign.
      CHECK(elementwise_elements(*graph) == (scalar ? 2 : 1) * kScaledRows * (kIn + kOut));
    }
  }
}

TEST_CASE(
    "a step of gradient descent is a sum of a product, with the number on its smaller factor") {
  for (const bool subtract : {false, true}) {
    for (const bool scaled : {false, true}) {
      for (const bool swapped : {false, true}) {
        if (!subtract && !scaled) continue;
        CAPTURE(subtract);
        CAPTURE(scaled);
        CAPTURE(swapped);
        Builder b;
        const Id x = b.input(swapped ? kY : kX), y = b.input(swapped ? kX : kY);
        const Id w = b.input(swapped ? f64({kOut, kIn}) : kW), s = b.input(f64({}));
        const Id product = b.named(b.dot(x, y, true), "inner_grads");
        const Id step = scaled ? b.mul(product, s) : product;
        const GraphPtr graph = moved(b.finish({subtract ? b.sub(w, step) : b.add(step, w)}));
        CHECK(count_ops(*graph, op::k_sub) == 0);
        CHECK(graph->nodes.back().op == &op::k_add);
        // Of the smaller factor, of which one is Y, and the sum.
        CHECK(elementwise_elements(*graph) ==
              kIn * kOut +
                  (static_cast<int>(subtract) + static_cast<int>(scaled)) * kScaledRows * kOut);
      }
    }
  }
}

TEST_CASE("numbers of a factor and of the product meet on the smaller factor") {
  Builder b;
  const Id x = b.input(f64({2, 6})), v = b.input(f64({6, 12})), z = b.input(f64({2, 12}));
  const Id product = b.dot(x, b.mul(v, b.input(f64({}))));
  const GraphPtr graph = moved(b.finish({b.sub(z, b.mul(product, 3.0))}));
  CHECK(count_ops(*graph, op::k_dot) == 1);
  CHECK(elementwise_elements(*graph) == 2 * 12 + 24);  // x twice, and the sum
}

TEST_CASE("several steps are sums of products on top of each other, which become one") {
  Builder b;
  Id w = b.input(kW);
  for (int i = 0; i < 3; ++i) {
    const Id x = b.input(kX), y = b.input(kY);
    w = b.sub(w, b.mul(b.dot(x, y, true), 0.1));
  }
  const GraphPtr graph = moved(b.finish({w}));
  CHECK(elementwise_elements(*graph) == 3 * (kScaledRows * kOut + kIn * kOut));
  const GraphPtr merged = merge_dots(*graph);
  CHECK(count_ops(*merged, op::k_dot_sum) == 1);
  CHECK(elementwise_elements(*merged) == 3 * kScaledRows * kOut);
}

TEST_CASE("what would not spare a walk over memory stays") {
  const auto with = [](auto&& make) {
    Builder b;
    const Id x = b.input(kX), y = b.input(kY), w = b.input(kW);
    check_stays(b.finish(make(b, x, y, w)));
  };
  // Another reader of the scaled matrix, the body's caller among them.
  with([](Builder& b, Id x, Id, Id w) {
    const Id scaled = b.mul(w, 0.1);
    return Ids{b.dot(x, scaled), b.exp(scaled)};
  });
  with([](Builder& b, Id x, Id, Id w) {
    const Id scaled = b.mul(w, 0.1);
    return Ids{b.dot(x, scaled), scaled};
  });
  // A link of an elementwise chain, scaled on its way.
  with([](Builder& b, Id x, Id, Id w) { return Ids{b.dot(x, b.mul(b.exp(w), 0.1))}; });
  // A number for each column.
  with([](Builder& b, Id x, Id, Id w) { return Ids{b.dot(x, b.mul(w, b.input(f64({kOut}))))}; });
  // As much to multiply in all factors together.
  with([](Builder& b, Id x, Id, Id w) {
    const Id scaled = b.mul(w, 0.1);
    return Ids{b.dot(x, scaled), b.dot(b.input(kX), scaled), b.dot(b.input(kX), scaled)};
  });
  // Both factors as large, or one value.
  with([](Builder& b, Id, Id, Id) {
    const Id scaled = b.mul(b.input(f64({4, 4})), 0.1);
    return Ids{b.dot(scaled, scaled)};
  });
  with([](Builder& b, Id, Id, Id w) { return Ids{b.dot(w, b.mul(b.input(kW), 0.1), true)}; });
  // A gradient that something else reads, or that is only stored.
  with([](Builder& b, Id x, Id y, Id w) {
    const Id g = b.dot(x, y, true);
    return Ids{b.sub(w, b.mul(g, 0.1)), b.sum_all(g)};
  });
  with([](Builder& b, Id x, Id y, Id) { return Ids{b.mul(b.dot(x, y, true), 0.1)}; });
  // A sum with what an elementwise op makes.
  with([](Builder& b, Id x, Id y, Id w) {
    return Ids{b.sub(b.exp(w), b.mul(b.dot(x, y, true), 0.1))};
  });
  // The product is what is subtracted from.
  with([](Builder& b, Id x, Id y, Id w) { return Ids{b.sub(b.dot(x, y, true), w)}; });
}

TEST_CASE("bodies of loops too, and a body that two loops share stays one") {
  Builder body;
  const Id x = body.input(kX), y = body.input(kY), w = body.input(kW);
  const auto region = std::make_shared<Region>(
      Region{.body = body.finish({body.sub(w, body.mul(body.dot(x, y, true), 0.1))}),
             .n = 2,
             .num_consts = 2,
             .num_carry = 1});
  Builder b;
  const Id a = b.input(kX), c = b.input(kY);
  Id carry = b.input(kW);
  for (int i = 0; i < 2; ++i) carry = b.emit_region(op::k_scan, Ids{a, c, carry}, region)[0];
  const GraphPtr graph = moved(b.finish({carry}));
  REQUIRE(graph->nodes.size() == 2);
  CHECK(graph->nodes[0].attrs.region == graph->nodes[1].attrs.region);
  CHECK(count_ops(*graph, op::k_sub) == 0);
}

TEST_CASE("random programs keep their values") {
  int changed = 0;
  for (unsigned seed = 0; seed < 200; ++seed) {
    CAPTURE(seed);
    for (const GraphPtr& graph : {testing::random_program(seed), testing::random_loops(seed)}) {
      if (!same_graph(*moved(graph, 1e-12), *graph)) ++changed;
    }
  }
  CHECK(changed > 20);
}

}  // namespace
}  // namespace mixflow
