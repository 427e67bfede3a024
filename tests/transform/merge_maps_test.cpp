#include "transform/merge_maps.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "graph/verify.h"
#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/random_graph.h"
#include "transform/rebuild.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

using testing::RandomGraph;

constexpr std::int64_t kMapBlocks = 3;
const Type kSquare{DType::f64, {4, 4}}, kStack{DType::f64, {kMapBlocks, 4, 4}};

// Merged, with the values of before; a second pass finds nothing more.
GraphPtr merged(const GraphPtr& graph) {
  const GraphPtr result = merge_maps(*graph);
  verify(*result);
  const std::vector<Tensor64> inputs = RandomGraph(3).inputs_for(*graph);
  const std::vector<Tensor64> expected = evaluate(*graph, inputs),
                              found = evaluate(*result, inputs);
  REQUIRE(found.size() == expected.size());
  for (std::size_t k = 0; k < found.size(); ++k) CHECK(found[k] == expected[k]);
  CHECK(same_graph(*merge_maps(*result), *result));
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

  Builder::Loop value() { return b.map(value_body(), Ids{w}, Ids{x}, kMapBlocks, 1); }
  Builder::Loop gradient(Id with_c, Id with_z) {
    return b.map(gradient_body(), Ids{w, with_c}, Ids{x, with_z}, kMapBlocks, 1);
  }
};

TEST_CASE("a loss by blocks and its gradient become one map") {
  for (const bool by_pullback : {false, true}) {
    Builder b;
    const Id w = b.input(kSquare), x = b.input(kStack);
    Ids outputs{b.map(value_body(), Ids{w}, Ids{x}, kMapBlocks, 1).carry[0]};
    if (by_pullback) {
      const Ids one{b.full(1, DType::f64)};
      for (const Id grad : pullback(b, Ids{outputs[0]}, one, Ids{w, x})) outputs.push_back(grad);
    }
    const GraphPtr graph = b.finish(outputs);
    const GraphPtr both =
        clean(by_pullback ? *graph : *vjp(*graph, {true, true}, {true}, true).graph);
    REQUIRE(maps(*both) == 2);
    const GraphPtr one = merged(both);
    CHECK(maps(*one) == 1);
    CHECK(count_ops(*both, op::k_dot) == 4);  // x w twice, x^T y_bar, y_bar w^T
    CHECK(count_ops(*one, op::k_dot) == 3);
  }
}

// (w, factors.. | x) -> sums and stacked results, two of each and all of one type, of the last of a
// chain of `products` products.
GraphPtr chain_body(int products, int factors = 0) {
  Builder b;
  const Id w = b.input(kSquare);
  Ids scale;
  for (int i = 0; i < factors; ++i) scale.push_back(b.input(kSquare));
  Id y = b.dot(b.input(kSquare), w);
  for (int i = 1; i < products; ++i) y = b.dot(b.tanh(y), w);
  for (const Id factor : scale) y = b.mul(y, b.sin(factor));
  return b.finish({b.sin(y), b.square(y), b.cos(y), b.neg(y)});
}

Ids joined(const Ids& a, const Ids& b) {
  Ids all = a;
  all.insert(all.end(), b.begin(), b.end());
  return all;
}

TEST_CASE("sums of the first map, of the second, then what each stacks, in their order") {
  Pair p;
  const auto first = p.b.map(chain_body(1), Ids{p.w}, Ids{p.x}, kMapBlocks, 2);
  const auto second = p.b.map(chain_body(2), Ids{p.w}, Ids{p.x}, kMapBlocks, 2);
  const GraphPtr graph =
      merged(p.b.finish(joined(joined(first.carry, second.carry), joined(first.ys, second.ys))));
  REQUIRE(graph->nodes.size() >= 1);
  CHECK(maps(*graph) == 1);
  CHECK(graph->nodes.back().out == graph->outputs);
}

TEST_CASE("what two maps have become is merged into a third") {
  Pair p;
  Ids outputs;
  for (const int products : {1, 2, 3}) {
    const auto map = p.b.map(chain_body(products), Ids{p.w}, Ids{p.x}, kMapBlocks, 2);
    outputs = joined(outputs, joined(map.carry, map.ys));
  }
  const GraphPtr graph = merged(p.b.finish(outputs));
  CHECK(maps(*graph) == 1);
  CHECK(count_ops(*graph, op::k_dot) == 3);
}

TEST_CASE("what the later map waits for comes first, however long it takes") {
  Pair p;
  const auto value = p.value();
  Id late = p.b.exp(p.c);
  for (int i = 0; i < 100'000; ++i) late = p.b.sin(late);
  const auto gradient = p.gradient(late, p.z);
  CHECK(maps(*merged(p.b.finish({value.carry[0], gradient.carry[0]}))) == 1);
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

TEST_CASE("a map that needs the other's result through merged maps stays behind it") {
  for (const bool needs : {false, true}) {
    Pair p;
    const Id v = p.b.input(kSquare), u = p.b.input(kStack);
    const auto first = p.b.map(value_body(), Ids{v}, Ids{u}, kMapBlocks, 1);
    const auto value = p.value();
    const auto gradient = p.gradient(p.c, needs ? first.ys[0] : p.z);
    const auto second = p.b.map(gradient_body(), Ids{v, p.c}, Ids{u, value.ys[0]}, kMapBlocks, 1);
    const GraphPtr graph = p.b.finish(
        {first.carry[0], value.carry[0], gradient.carry[0], second.carry[0], second.ys[0]});
    CHECK(maps(*merged(graph)) == (needs ? 3 : 2));
  }
}

TEST_CASE("a map is not merged into one that waits for a map merged with it") {
  // second needs what third gives; first could go into either, third into none after that.
  Pair p;
  const auto first = p.value();
  const auto third = p.gradient(p.c, p.z);
  const auto second =
      p.b.map(gradient_body(3), Ids{p.w, third.carry[0]}, Ids{p.x, third.ys[0]}, kMapBlocks, 1);
  const GraphPtr graph = p.b.finish({first.carry[0], second.carry[0], second.ys[0]});
  CHECK(maps(*merged(graph)) == 2);
}

TEST_CASE("maps over other elements, with products of their own or with none stay apart") {
  const auto stay_apart = [](const GraphPtr& graph) { CHECK(maps(*merged(graph)) == 2); };
  {
    Pair p;  // first reads an x that second does not
    const auto value = p.b.map(value_body(), Ids{p.w}, Ids{p.z}, kMapBlocks, 1);
    const auto gradient = p.b.map(gradient_body(), Ids{p.w, p.c}, Ids{p.x, p.x}, kMapBlocks, 1);
    stay_apart(p.b.finish({value.carry[0], gradient.carry[0]}));
  }
  {
    Pair p;  // first has a product that second lacks
    const auto value = p.b.map(value_body(), Ids{p.c}, Ids{p.x}, kMapBlocks, 1);
    const auto gradient = p.gradient(p.c, p.z);
    stay_apart(p.b.finish({value.carry[0], gradient.carry[0]}));
  }
  {
    Pair p;  // first has no products, so there is nothing to gain
    Builder body;
    const Id w = body.input(kSquare), x = body.input(kSquare);
    const GraphPtr plain = body.finish({body.tanh(body.mul(w, x))});
    const auto value = p.b.map(plain, Ids{p.w}, Ids{p.x}, kMapBlocks, 1);
    const auto gradient = p.gradient(p.c, p.z);
    stay_apart(p.b.finish({value.carry[0], gradient.carry[0]}));
  }
}

TEST_CASE("maps without xs are merged where they have as many iterations") {
  for (const std::int64_t n : {2, 3}) {
    Builder value, gradient;
    const Id y = value.dot(value.input(kSquare), value.full(2, DType::f64, kSquare.shape));
    const GraphPtr of_value = value.finish({y});
    const Id w = gradient.input(kSquare), twos = gradient.full(2, DType::f64, kSquare.shape);
    const GraphPtr of_gradient =
        gradient.finish({gradient.dot(gradient.tanh(gradient.dot(w, twos)), w)});
    Builder b;
    const Id in = b.input(kSquare);
    const auto first = b.map(of_value, Ids{in}, Ids{}, 2, 1);
    const auto second = b.map(of_gradient, Ids{in}, Ids{}, n, 1);
    CHECK(maps(*merged(b.finish({first.carry[0], second.carry[0]}))) == (n == 2 ? 1 : 2));
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
  const Id z = b.input({DType::f64, {2, kMapBlocks, 4, 4}}), more = b.input(b.type(z));
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

// Maps over few xs that do one to three products of a chain; each may read results of earlier ones,
// as they are or through other nodes.
GraphPtr random_maps(RandomGraph& random) {
  Pair p;
  Ids squares{p.c}, stacks{p.x, p.z}, outputs;
  const auto any = [&](const Ids& ids) {
    return ids[static_cast<std::size_t>(random.below(static_cast<int>(ids.size())))];
  };
  for (int k = 0; k < 7; ++k) {
    Ids consts{p.w};
    for (int more = random.below(3); more > 0; --more) consts.push_back(any(squares));
    const auto factors = static_cast<int>(consts.size()) - 1;
    const GraphPtr body = chain_body(1 + random.below(3), factors);
    const auto map = p.b.map(body, consts, Ids{any(stacks)}, kMapBlocks, 2);
    outputs = joined(outputs, joined(map.carry, map.ys));
    squares.push_back(random.coin() ? map.carry[0] : p.b.tanh(map.carry[1]));
    if (random.coin()) stacks.push_back(random.coin() ? map.ys[0] : p.b.mul(p.z, map.ys[1]));
  }
  return p.b.finish(outputs);
}

TEST_CASE("random graphs, maps and their gradients keep their values") {
  int fewer_maps = 0, fewer_products = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    RandomGraph random(seed);
    GraphPtr graph = seed % 2 == 0 ? random.make() : random_maps(random);
    if (seed % 3 == 0) {
      const Mask active(graph->inputs.size(), true), all(graph->outputs.size(), true);
      graph = clean(*vjp(*graph, active, all, true).graph);
    }
    const GraphPtr once = merged(graph);
    CHECK(count_ops(*once, op::k_dot) <= count_ops(*graph, op::k_dot));
    if (maps(*once) < maps(*graph)) ++fewer_maps;
    if (count_ops(*once, op::k_dot) < count_ops(*graph, op::k_dot)) ++fewer_products;
  }
  CHECK(fewer_maps > 100);
  CHECK(fewer_products == fewer_maps);
}

}  // namespace
}  // namespace mixflow
