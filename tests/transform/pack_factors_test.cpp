#include "transform/pack_factors.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <tuple>
#include <vector>

#include "graph/verify.h"
#include "ops/builder.h"
#include "ops/op_list.h"
#include "ops/pack.h"
#include "transform/lower_map.h"

namespace mixflow {
namespace {

const Type kPackedSquare{DType::f32, {64, 64}};

Type stack(std::int64_t n) { return {DType::f32, {n, 64, 64}}; }

// (w | x) -> x w, with op(w) = w^T if trans.
GraphPtr times_constant(bool trans = false) {
  Builder b;
  const Id w = b.input(kPackedSquare, "w"), x = b.input(kPackedSquare, "x");
  return b.finish({b.dot(x, w, false, trans)});
}

GraphPtr packed(const GraphPtr& graph) {
  const GraphPtr result = pack_factors(*lower_map(*graph));
  verify(*result);
  CHECK(result->inputs.size() == graph->inputs.size());
  return result;
}

const Node& only_loop(const Graph& graph) {
  const Node* found = nullptr;
  for (const Node& node : graph.nodes) {
    if (node.op != &op::k_scan) continue;
    REQUIRE(found == nullptr);
    found = &node;
  }
  REQUIRE(found != nullptr);
  return *found;
}

std::int64_t packs_here(const Graph& graph) {
  return std::ranges::count(graph.nodes, &op::k_pack_bf16, &Node::op);
}

TEST_CASE("a loop's constant is packed before the loop, in each way that products read it") {
  for (const bool both : {false, true}) {
    Builder body;
    const Id w = body.input(kPackedSquare, "w"), x = body.input(kPackedSquare, "x");
    Id y = body.dot(x, w);
    if (both) y = body.dot(y, w, false, true);
    Builder b;
    const Ids consts{b.input(kPackedSquare)}, xs{b.input(stack(3))};
    const GraphPtr graph = packed(b.finish({b.map(body.finish({y}), consts, xs, 3, 0).ys[0]}));
    CHECK(packs_here(*graph) == (both ? 2 : 1));
    const Region& loop = *region_of(only_loop(*graph));
    CHECK(loop.num_consts == (both ? 3 : 2));
    CHECK(packs_here(*loop.body) == 0);
    CHECK(count_ops(*loop.body, op::k_dot) == 0);
    CHECK(count_ops(*loop.body, op::k_dot_sum) == (both ? 2 : 1));
  }
}

TEST_CASE("a constant of two nested loops is packed before the outer one") {
  Builder outer;
  const Id w = outer.input(kPackedSquare), xs = outer.input(stack(2));
  const GraphPtr middle = outer.finish({outer.map(times_constant(), Ids{w}, Ids{xs}, 2, 0).ys[0]});
  Builder b;
  const Ids consts{b.input(kPackedSquare)}, all{b.input({DType::f32, {3, 2, 64, 64}})};
  const GraphPtr graph = packed(b.finish({b.map(middle, consts, all, 3, 0).ys[0]}));
  CHECK(packs_here(*graph) == 1);
  CHECK(count_ops(*graph, op::k_pack_bf16) == 1);
}

TEST_CASE("what changes with the iteration is packed inside, if two products read it alike") {
  // x is twice a right factor; carry is one left and one right factor.
  Builder body;
  const Id carry = body.input(kPackedSquare), x = body.input(kPackedSquare);
  const Id once = body.dot(body.exp(x), carry);
  const Id twice = body.add(body.dot(once, x), body.dot(carry, x));
  Builder b;
  const Ids init{b.input(kPackedSquare)}, xs{b.input(stack(3))};
  const GraphPtr graph = packed(b.finish({b.scan(body.finish({twice}), {}, init, xs, 3).carry[0]}));
  CHECK(packs_here(*graph) == 0);
  const Graph& inner = *region_of(only_loop(*graph))->body;
  CHECK(packs_here(inner) == 1);
  for (const Node& node : inner.nodes) {
    if (node.op == &op::k_pack_bf16) CHECK(node.in[0] == inner.inputs[1]);
  }
}

TEST_CASE("left factors are packed like right ones, but not for them") {
  Builder b;
  const Id x = b.input(kPackedSquare), v = b.input(kPackedSquare), w = b.input(kPackedSquare);
  const GraphPtr graph =
      packed(b.finish({b.dot(x, v), b.dot(x, w), b.dot(v, x, true), b.dot(w, x, true)}));
  // x as a left factor of two, as a right factor of two.
  REQUIRE(packs_here(*graph) == 2);
  std::vector<Side> sides;
  for (const Node& node : graph->nodes) {
    if (node.op != &op::k_pack_bf16) continue;
    CHECK(node.in[0] == graph->inputs[0]);
    sides.push_back(side_of(node.attrs));
  }
  CHECK(sides[0] != sides[1]);
  CHECK(count_ops(*graph, op::k_dot_sum) == 4);
}

TEST_CASE("one product, or a loop of one iteration, is no reason to pack") {
  Builder b;
  const Id x = b.input(kPackedSquare), w = b.input(kPackedSquare);
  CHECK(count_ops(*packed(b.finish({b.dot(x, w)})), op::k_pack_bf16) == 0);
  Builder c;
  const Ids consts{c.input(kPackedSquare)}, xs{c.input(stack(1))};
  const GraphPtr once = c.finish({c.map(times_constant(), consts, xs, 1, 0).ys[0]});
  CHECK(count_ops(*packed(once), op::k_pack_bf16) == 0);
}

TEST_CASE("factors of small products, and those that are not whole tiles, stay as they are") {
  for (const auto& [rows, inner, columns] :
       {std::tuple{16, 64, 64}, std::tuple{64, 48, 64}, std::tuple{64, 64, 72}}) {
    Builder b;
    const Id w = b.input({DType::f32, {inner, columns}});
    const Id x = b.input({DType::f32, {rows, inner}}), y = b.input({DType::f32, {rows, inner}});
    CHECK(count_ops(*packed(b.finish({b.dot(x, w), b.dot(y, w)})), op::k_pack_bf16) == 0);
  }
  Builder b;  // f64 is never rounded
  const Type wide{DType::f64, {64, 64}};
  const Id w = b.input(wide), x = b.input(wide), y = b.input(wide);
  CHECK(count_ops(*packed(b.finish({b.dot(x, w), b.dot(y, w)})), op::k_pack_bf16) == 0);
}

TEST_CASE("loops that share a body go on sharing it, and the packed factor") {
  const GraphPtr body = times_constant(true);
  auto region = std::make_shared<Region>();
  region->body = body;
  region->n = 3;
  region->num_consts = region->num_xs = 1;
  Builder b;
  const Id w = b.input(kPackedSquare), x = b.input(stack(3)), y = b.input(stack(3));
  const Id first = b.emit_region(op::k_map, Ids{w, x}, region)[0];
  const Id second = b.emit_region(op::k_map, Ids{w, y}, region)[0];
  const GraphPtr graph = packed(b.finish({first, second}));
  CHECK(packs_here(*graph) == 1);
  std::vector<const Region*> regions;
  for (const Node& node : graph->nodes) {
    if (node.op == &op::k_scan) regions.push_back(region_of(node));
  }
  REQUIRE(regions.size() == 2);
  CHECK(regions[0] == regions[1]);
}

}  // namespace
}  // namespace mixflow
