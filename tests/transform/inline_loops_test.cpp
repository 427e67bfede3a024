#include "transform/inline_loops.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <utility>

#include "exec/graphs.h"
#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/check_derivatives.h"
#include "transform/lower_map.h"
#include "transform/merge_maps.h"
#include "transform/rebuild.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

using testing::f64;

void check_same_values(const Graph& after, const Graph& before, double tolerance) {
  Rng rng(7, Purpose::check);
  const testing::Tensors inputs = testing::draw_inputs(before, rng);
  CHECK(testing::distance(testing::run(after, inputs), testing::run(before, inputs)) <= tolerance);
}

// The order of all sums stays, so values are exactly those of before.
GraphPtr inlined(const GraphPtr& graph) {
  const GraphPtr result = inline_loops(*graph);
  check_same_values(*result, *graph, 0);
  return result;
}

std::int64_t scans(const Graph& graph) { return count_ops(graph, op::k_scan); }

Ids results(const Builder::Loop& loop) {
  Ids all = loop.carry;
  all.insert(all.end(), loop.ys.begin(), loop.ys.end());
  return all;
}

// c' = tanh(.. tanh(c)), n times.
Builder::Loop tanh_loop(Builder& b, Id start, std::int64_t n, int links = 1) {
  Builder body;
  Id c = body.input(b.type(start));
  for (int i = 0; i < links; ++i) c = body.tanh(c);
  return b.scan(body.finish({c}), {}, Ids{start}, {}, n);
}

TEST_CASE("a short loop becomes straight code, forward or in reverse") {
  for (const std::int64_t n : {1, 3}) {
    for (const bool reverse : {false, true}) {
      CAPTURE(n);
      CAPTURE(reverse);
      // Constants w and v, carries p and q that pass on to each other, xs and ys of two shapes.
      Builder body;
      const Id w = body.input(f64({2, 2})), v = body.input(f64({2})), p = body.input(f64({2, 2})),
               q = body.input(f64({2, 2})), x = body.input(f64({2, 2})), z = body.input(f64({}));
      const Id moved = body.add(body.mul(body.dot(w, p), body.broadcast_to(z, {2, 2})), x);
      const Id sum = body.sum_all(body.mul(moved, body.broadcast_to(v, {2, 2})));
      const GraphPtr step = body.finish({q, body.sin(moved), sum, p, x});
      Builder b;
      const Ids consts{b.input(f64({2, 2})), b.input(f64({2}))};
      const Ids carry{b.input(f64({2, 2})), b.input(f64({2, 2}))};
      const Ids xs{b.input(f64({n, 2, 2})), b.input(f64({n}))};
      const GraphPtr graph = b.finish(results(b.scan(step, consts, carry, xs, n, reverse)));
      const GraphPtr straight = inlined(graph);
      CHECK(scans(*straight) == 0);
      CHECK(count_ops(*straight, op::k_dot) == n);
    }
  }
}

TEST_CASE("what a backward loop computes again is shared with the forward loop") {
  constexpr std::int64_t kIterations = 4;
  Builder body;
  const Id w = body.input(f64({3})), c = body.input(f64({3}));
  const GraphPtr step = body.finish({body.mul(w, body.tanh(c))});
  Builder b;
  const Ids consts{b.input(f64({3}))}, carry{b.input(f64({3}))};
  const Policy policy{Policy::Keep::carries, {}};
  const Builder::Loop loop = b.scan(step, consts, carry, {}, kIterations, false, policy);
  const GraphPtr loss = b.finish({b.sum_all(b.square(loop.carry[0]))});
  const GraphPtr gradient = clean(*vjp(*loss, {true, true}, {true}, true).graph);
  REQUIRE(scans(*gradient) == 2);
  REQUIRE(count_ops(*gradient, op::k_tanh) == 2);  // one in each body
  const GraphPtr straight = clean(*inlined(gradient));
  CHECK(count_ops(*straight, op::k_tanh) == kIterations);
  // The stack of carries is gone too.
  CHECK(count_ops(*straight, op::k_slice) == 0);
  CHECK(count_ops(*straight, op::k_concat) == 0);
}

TEST_CASE("loops of one body are inlined all or none, by their bytes and nodes together") {
  const Type large = f64({512, 64}), scalar = f64({});  // two values of 256 KiB in an iteration
  for (const auto& [type, links] : {std::pair{large, 1}, std::pair{scalar, 256}}) {
    for (const std::int64_t n : {7, 8}) {
      CAPTURE(to_string(type));
      CAPTURE(n);
      Builder b;
      const Id first = tanh_loop(b, b.input(type), n, links).carry[0];
      const Id second = tanh_loop(b, b.input(type), 1, links).carry[0];
      const GraphPtr graph = b.finish({first, second});
      CHECK(scans(*inlined(graph)) == (n == 7 ? 0 : 2));
    }
  }
}

TEST_CASE("more than sixteen iterations stay a loop, and so does one with empty slices") {
  for (const std::int64_t n : {16, 17}) {
    Builder b;
    const GraphPtr graph = b.finish(tanh_loop(b, b.input(f64({2})), n).carry);
    CHECK(scans(*inlined(graph)) == (n == 16 ? 0 : 1));
  }
  Builder body, b;
  const Id c = body.input(f64({2})), x = body.input(f64({0}));
  const GraphPtr step = body.finish({body.tanh(body.add(c, body.sum_all(x)))});
  const Ids start{b.input(f64({2}))}, xs{b.input(f64({3, 0}))};
  CHECK(scans(*inlined(b.finish(b.scan(step, {}, start, xs, 3).carry))) == 1);
}

TEST_CASE("a short loop is inlined inside another, which stays if it has too many nodes then") {
  for (const std::int64_t n : {2, 3}) {
    Builder body;
    const Id c = body.input(f64({2}));
    const GraphPtr step = body.finish({body.sin(tanh_loop(body, c, 10, 100).carry[0])});
    Builder b;
    const Ids carry{b.input(f64({2}))};
    const GraphPtr straight = inlined(b.finish(b.scan(step, {}, carry, {}, n).carry));
    CHECK(scans(*straight) == (n == 2 ? 0 : 1));
    CHECK(count_ops(*straight, op::k_tanh) == (n == 2 ? 2000 : 1000));
  }
}

TEST_CASE("what a loop that stays holds in an iteration counts for the loop around it") {
  for (const std::int64_t width : {8, 100'000}) {
    Builder element, body, b;
    const Id x = element.input(f64({}));
    const Id wide = element.tanh(element.broadcast(x, {0}, {width}));
    const GraphPtr each = element.finish({element.sum_all(wide)});
    const Ids xs{body.broadcast(body.input(f64({})), {0}, {2})};
    const GraphPtr step = body.finish(body.map(each, {}, xs, 2, 1).carry);
    const Ids start{b.input(f64({}))};
    const GraphPtr straight = inlined(lower_map(*b.finish(b.scan(step, {}, start, {}, 3).carry)));
    CHECK(scans(*straight) == (width == 8 ? 3 : 2));  // the inner one three times, or both loops
  }
}

TEST_CASE("loops that threads share stay, the short ones inside and beside them do not") {
  Builder body;
  const Id x = body.input(f64({2}));
  const Id y = tanh_loop(body, x, 3).carry[0];
  const GraphPtr each = body.finish({body.sum_all(y), y});
  Builder b;
  const Ids xs{b.input(f64({4, 2}))};
  const Builder::Loop map = b.map(each, {}, xs, 4, 1);
  const GraphPtr graph = lower_map(*b.finish({tanh_loop(b, map.carry[0], 2).carry[0], map.ys[0]}));
  REQUIRE(scans(*graph) == 3);
  const GraphPtr straight = inlined(graph);
  REQUIRE(scans(*straight) == 1);
  const auto loop = std::ranges::find(straight->nodes, &op::k_scan, &Node::op);
  REQUIRE(loop != straight->nodes.end());
  CHECK(region_of(*loop)->parallel);
  CHECK(count_ops(*straight, op::k_tanh) == 3 + 2);
}

TEST_CASE("a loop without iterations stays, the one after it does not") {
  Builder body;
  const Id c = body.input(f64({2})), x = body.input(f64({2}));
  const GraphPtr step = body.finish({body.mul(c, x), body.sin(x)});
  Builder b;
  const Ids start{b.input(f64({2}))}, xs{b.input(f64({0, 2}))};
  const Builder::Loop none = b.scan(step, {}, start, xs, 0);
  const GraphPtr straight =
      inlined(b.finish({tanh_loop(b, none.carry[0], 2).carry[0], none.ys[0]}));
  REQUIRE(scans(*straight) == 1);
  CHECK(region_of(straight->nodes[0])->n == 0);
  CHECK(count_ops(*straight, op::k_tanh) == 2);
}

TEST_CASE("random programs keep their values, simplified afterwards too") {
  int fewer = 0;
  for (unsigned seed = 0; seed < 120; ++seed) {
    CAPTURE(seed);
    const GraphPtr random =
        seed % 2 == 0 ? testing::random_program(seed) : testing::random_loops(seed);
    const GraphPtr graph = lower_map(*merge_maps(*clean(*lower_grad(*random))));
    const GraphPtr straight = inline_loops(*graph);
    check_same_values(*straight, *graph, 1e-12);
    check_same_values(*clean(*straight), *graph, 1e-12);
    if (scans(*straight) < scans(*graph)) ++fewer;
  }
  CHECK(fewer > 60);
}

}  // namespace
}  // namespace mixflow
