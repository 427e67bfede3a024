#include "transform/fuse.h"

#include <doctest/doctest.h>

#include <bit>
#include <numeric>

#include "graph/verify.h"
#include "ops/fused_lower.h"
#include "transform/fuse_group.h"
#include "transform/random_graph.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

using testing::RandomGraph;

// Every elementwise op is in a fused node, names are gone, and every fused body can be lowered.
void check_fused(const Graph& graph) {
  for (const Node& node : graph.nodes) {
    CAPTURE(node.op->name);
    if (node.op == &op::k_fused) {
      const GraphPtr body = region_of(node)->body;
      CHECK(!body->outputs.empty());
      CHECK(fused_may_overwrite(node).size() == node.out.size());
      continue;
    }
    if (region_of(node) != nullptr) check_fused(*region_of(node)->body);
    const TileOp tile = node.op->tile;
    CHECK((tile == TileOp::none || tile >= TileOp::full));
  }
}

Mask everything(std::size_t n) { return Mask(n, true); }

TEST_CASE("a fused graph is the same function, bit by bit, in loops and derivatives too") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    RandomGraph random(seed);
    GraphPtr graph = random.make();
    if (seed % 3 != 0) {
      graph = vjp(*graph, everything(graph->inputs.size()), everything(graph->outputs.size()), true)
                  .graph;
    }
    if (seed % 3 == 2) graph = jvp(*graph, everything(graph->inputs.size())).graph;
    const std::vector<Tensor64> inputs = random.inputs_for(*graph);
    const GraphPtr fused = fuse(*graph);
    verify(*fused);
    check_fused(*fused);
    CHECK(count_ops(*fused, op::k_named) == 0);
    const auto before = evaluate(*graph, inputs);
    const auto after = evaluate(*fused, inputs);
    REQUIRE(before.size() == after.size());
    for (std::size_t j = 0; j < before.size(); ++j) CHECK(before[j] == after[j]);
  }
}

TEST_CASE("fusing twice the same gives the same graph") {
  for (unsigned seed = 0; seed < 20; ++seed) {
    const GraphPtr graph = RandomGraph(seed).make();
    const GraphPtr a = fuse(*graph);
    const GraphPtr b = fuse(*graph);
    REQUIRE(a->nodes.size() == b->nodes.size());
    for (std::size_t n = 0; n < a->nodes.size(); ++n) {
      CHECK(a->nodes[n].op == b->nodes[n].op);
      CHECK(a->nodes[n].in == b->nodes[n].in);
      CHECK(a->nodes[n].out == b->nodes[n].out);
    }
  }
}

// Two hidden layers on 10 rows, mean squared error.
GraphPtr deep_mlp_loss() {
  Builder b;
  Ids theta;
  const std::int64_t sizes[] = {1, 40, 40, 1};
  for (int i = 0; i < 3; ++i) {
    theta.push_back(b.input({DType::f64, {sizes[i], sizes[i + 1]}}));
    theta.push_back(b.input({DType::f64, {sizes[i + 1]}}));
  }
  Id h = b.input({DType::f64, {10, 1}});
  const Id target = b.input({DType::f64, {10, 1}});
  for (std::size_t i = 0; i < 3; ++i) {
    h = b.add(b.dot(h, theta[2 * i]), theta[2 * i + 1]);
    if (i < 2) h = b.relu(h);
  }
  return b.finish({b.mean_all(b.square(b.sub(h, target)))});
}

std::int64_t count_free(const Graph& graph) {
  return count_ops(graph, op::k_broadcast) + count_ops(graph, op::k_full);
}

std::int64_t outside_fused(const Graph& graph, const OpDef& op) {
  std::int64_t n = 0;
  for (const Node& node : graph.nodes) {
    if (node.op == &op) ++n;
    if (node.op != &op::k_fused && region_of(node) != nullptr)
      n += outside_fused(*region_of(node)->body, op);
  }
  return n;
}

TEST_CASE(
    "the second-order graph of an MLP has about one kernel per product and no broadcast in "
    "memory") {
  const GraphPtr loss = deep_mlp_loss();
  Mask active(8, true);
  active[6] = active[7] = false;
  const GraphPtr gradient = vjp(*loss, active, {true}).graph;
  Mask tangents(gradient->inputs.size(), false);
  for (std::size_t i = 0; i < 6; ++i) tangents[i] = true;
  const GraphPtr second = dce(*jvp(*gradient, tangents).graph);
  REQUIRE(count_free(*second) > 0);
  for (const GraphPtr& graph : {gradient, second}) {
    const GraphPtr fused = fuse(*graph);
    check_fused(*fused);
    CHECK(outside_fused(*fused, op::k_broadcast) == 0);
    CHECK(outside_fused(*fused, op::k_full) == 0);
    const std::int64_t products = count_ops(*fused, op::k_dot);
    const std::int64_t clusters = count_ops(*fused, op::k_fused);
    CHECK(clusters <= products);
  }
}

// The gradient of a network of so many layers of width 6.
GraphPtr deep_gradient(int layers) {
  Builder b;
  Ids theta;
  for (int i = 0; i < layers; ++i) {
    theta.push_back(b.input({DType::f64, {6, 6}}));
    theta.push_back(b.input({DType::f64, {6}}));
  }
  Id h = b.input({DType::f64, {10, 6}});
  for (std::size_t i = 0; i < static_cast<std::size_t>(layers); ++i)
    h = b.relu(b.add(b.dot(h, theta[2 * i]), theta[2 * i + 1]));
  const GraphPtr loss = b.finish({b.mean_all(b.square(h))});
  Mask active(loss->inputs.size(), true);
  active.back() = false;
  return dce(*vjp(*loss, active, {true}).graph);
}

TEST_CASE("searches for cycles stay near their clusters, however deep the network is") {
  const std::int64_t shallow = plan_fusion(*deep_gradient(50)).searched;
  const std::int64_t deep = plan_fusion(*deep_gradient(200)).searched;
  CHECK(shallow > 0);
  CHECK(deep < 5 * shallow);  // four times the layers; whole searches would take sixteen times
}

TEST_CASE("masks are made again from what is kept for other reasons") {
  // relu's mask in the backward pass comes from relu's result, which the weight gradient needs.
  Builder b;
  const Id x = b.input({DType::f64, {8, 6}});
  const Id w = b.input({DType::f64, {6, 6}});
  const Id bias = b.input({DType::f64, {6}});
  const Id c = b.input({DType::f64, {8, 6}});
  const Id z = b.add(b.dot(x, w), bias);
  const Id h = b.relu(z);
  const Id y = b.dot(h, w);
  const Id back = b.mul(b.dot(b.mul(c, y), w, false, true), b.step(z));
  const GraphPtr fused = fuse(*b.finish({b.dot(x, back, true), b.dot(h, c, true)}));
  int made = 0;
  for (const Node& node : fused->nodes) {
    if (node.op != &op::k_fused) continue;
    made += static_cast<int>(node.out.size());
  }
  CHECK(made == 3);  // h, c * y, back: no mask between them
}

TEST_CASE("a mask of positions is made where it is read, and stored nowhere") {
  const Type type{DType::f64, {16, 64}};
  Builder b;
  const Id scores = b.input(type), w = b.input({DType::f64, {64, 64}}),
           last = b.input({DType::f64, {}});
  const Id position = b.add(b.iota(DType::f64, {16}, 0), b.broadcast_to(last, {16}));
  const Id mask = b.less(b.iota(DType::f64, type.shape, 1), b.broadcast(position, {1}, type.shape));
  const Id low = b.full_like(scores, -1e30), zero = b.zeros_like(scores);
  const Id first = b.exp(b.select(mask, scores, low));
  const Id second = b.select(mask, b.mul(b.dot(first, w), first), zero);
  const GraphPtr graph = b.finish({second});
  const GraphPtr fused = fuse(*graph);
  verify(*fused);
  std::int64_t less = 0;
  for (const Node& node : fused->nodes) {
    if (node.op != &op::k_fused) continue;
    less += count_ops(*region_of(node)->body, op::k_less);
    for (const Id out : node.out) {
      const bool stored_mask =
          fused->type(out).rank() == 2 && count_ops(*region_of(node)->body, op::k_select) == 0;
      CHECK_FALSE(stored_mask);
    }
  }
  CHECK(less == 2);
  const std::vector<Tensor64> inputs = RandomGraph(1).inputs_for(*graph);
  CHECK(evaluate(*fused, inputs) == evaluate(*graph, inputs));
}

TEST_CASE("what a recomputed value is made of is there for every copy of it") {
  // n = m^2 is made again for `early` from the stored m; m itself is not to be made again for
  // `late` alone.
  const Type type{DType::f64, {64, 64}};
  Builder b;
  const Id p = b.input(type), q = b.input(type), w = b.input(type);
  const Id m = b.mul(p, q);
  const Id n = b.square(m);
  const Id early = b.tanh(b.add(n, b.dot(b.sin(p), w)));
  const Id late = b.sub(b.mul(b.mul(b.dot(early, w), p), q), m);
  const GraphPtr graph = b.finish({late});
  const GraphPtr fused = fuse(*graph);
  verify(*fused);
  const std::vector<Tensor64> inputs = RandomGraph(1).inputs_for(*graph);
  CHECK(evaluate(*fused, inputs) == evaluate(*graph, inputs));
}

TEST_CASE("what a copy reads is made where it can be a result") {
  // The gradient of 1/2 h sum w^2, and a product that is added to it: h / 2 times 2 w could be made
  // again where it is added, but h / 2 is no result of the kernel that makes it beside w^2 and 2 w.
  Builder b;
  const Id w = b.input({DType::f64, {1, 20}}), h = b.input({DType::f64, {}});
  const Id a = b.input({DType::f64, {1, 10}}), x = b.input({DType::f64, {10, 20}});
  const Id loss = b.mul(h, b.sum(b.square(w), {0, 1}));
  const Id half = b.mul(h, 0.5), twice = b.mul(w, 2.0);
  const Id pulled = b.mul(b.broadcast(half, {0, 1}, {1, 20}), twice);
  const Id step = b.sub(w, b.mul(b.add(pulled, b.dot(a, x)), 0.01));
  const Id later = b.mul(b.dot(step, x, false, true), b.dot(twice, x, false, true));
  const GraphPtr graph = b.finish({loss, step, later});
  const GraphPtr fused = fuse(*graph);
  check_fused(*fused);
  const std::vector<Tensor64> inputs = RandomGraph(1).inputs_for(*graph);
  CHECK(evaluate(*fused, inputs) == evaluate(*graph, inputs));
}

// Chains over one space: values of all its axes, rows of it, columns, numbers, spread and summed.
GraphPtr random_chains(RandomGraph& random, std::int64_t rows, std::int64_t columns) {
  const Shape shapes[] = {{}, {rows}, {columns}, {rows, columns}, {1, columns}};
  Builder b;
  Ids pool;
  for (const Shape& shape : shapes) {
    pool.push_back(b.input({DType::f64, shape}));
    pool.push_back(b.input({DType::f64, shape}));
  }
  const auto pick = [&] {
    return pool[static_cast<std::size_t>(random.below(static_cast<int>(pool.size())))];
  };
  // One over these axes of the space.
  const auto spread = [&](Id x) {
    const Shape& shape = b.shape(x);
    if (shape.size() == 2)
      return shape[0] == rows ? x : b.broadcast(b.reshape(x, {columns}), {0}, {rows, columns});
    if (shape.empty()) return b.broadcast(x, {0, 1}, {rows, columns});
    return b.broadcast(x, {shape[0] == rows ? 1 : 0}, {rows, columns});
  };
  for (int i = 0; i < 24; ++i) {
    Id x = pick(), y = pick();
    switch (random.below(7)) {
      case 0:
        pool.push_back(b.sin(x));
        break;
      case 1:
        pool.push_back(b.mul(x, 0.5));
        break;
      case 2:
        if (b.shape(x) == Shape{rows, columns}) pool.push_back(b.mean(x, {random.below(2)}));
        break;
      case 3:
        if (!b.shape(x).empty()) pool.push_back(b.mean_all(x));
        break;
      case 4:  // so that a product lies between clusters
        if (b.shape(x).size() == 2) {
          const Id square = b.dot(b.graph().inputs[6], b.graph().inputs[7], true);
          pool.push_back(b.mul(b.dot(x, square), 1e-2));
        }
        break;
      default:
        if (b.shape(y).empty() && !b.shape(x).empty()) {
          Shape axes(b.shape(x).size());
          std::iota(axes.begin(), axes.end(), 0);
          y = b.broadcast(y, axes, b.shape(x));
        } else if (b.shape(x) != b.shape(y)) {
          x = spread(x);
          y = spread(y);
        }
        pool.push_back(random.coin() ? b.mul(x, y) : b.add(x, y));
    }
  }
  Ids outputs = {pool.back()};
  for (int i = 0; i < 4; ++i) outputs.push_back(pick());
  return b.finish(outputs);
}

TEST_CASE(
    "random chains of numbers, rows, columns and matrices are clusters of kernels, also with dead "
    "code gone") {
  for (unsigned seed = 0; seed < 400; ++seed) {
    CAPTURE(seed);
    RandomGraph random(seed);
    // Large ones too: chains are made again only where more than 16 KiB would be stored.
    GraphPtr graph = seed % 4 == 3 ? random_chains(random, 60, 50) : random_chains(random, 5, 4);
    if (seed % 2 == 1) {
      graph = vjp(*graph, everything(graph->inputs.size()), everything(graph->outputs.size()), true)
                  .graph;
    }
    graph = clean(*graph);
    const GraphPtr fused = fuse(*graph);
    check_fused(*fused);
    check_fused(*dce(*fused));
    const std::vector<Tensor64> inputs = random.inputs_for(*graph);
    const auto before = evaluate(*graph, inputs), after = evaluate(*dce(*fused), inputs);
    REQUIRE(before.size() == after.size());
    for (std::size_t j = 0; j < before.size(); ++j) CHECK(before[j] == after[j]);
  }
}

TEST_CASE("the states of Adam are updated by one kernel") {
  Builder b;
  Ids in;
  for (int i = 0; i < 4; ++i) in.push_back(b.input({DType::f64, {30, 20}}));
  const Id lr = b.input({DType::f64, {}});
  const Id m = b.add(b.mul(in[1], 0.9), b.mul(in[3], 0.1));
  const Id v = b.add(b.mul(in[2], 0.99), b.mul(b.square(in[3]), 0.01));
  const Id theta = b.sub(in[0], b.mul(lr, b.div(m, b.add(b.sqrt(v), 1e-8))));
  const GraphPtr fused = fuse(*b.finish({theta, m, v}));
  REQUIRE(fused->nodes.size() == 1);
  const std::vector<std::uint32_t> may = fused_may_overwrite(fused->nodes[0]);
  REQUIRE(may.size() == 3);
  for (const std::uint32_t inputs : may) CHECK(inputs == may[0]);
  CHECK(std::popcount(may[0]) == 4);  // theta, m, v, g, but not lr
}

// tanh((p0 + p1) (p2 + p3)) p', where p' is known only after several more products.
GraphPtr early_and_late(std::int64_t n) {
  Builder b;
  Ids in;
  for (int i = 0; i < 4; ++i) in.push_back(b.input({DType::f64, {n, n}}));
  Ids products;
  for (const Id x : in) products.push_back(b.dot(in[0], x));
  const Id early = b.tanh(b.mul(b.add(products[0], products[1]), b.add(products[2], products[3])));
  Id later = b.dot(in[2], in[3]);
  for (int i = 0; i < 3; ++i) later = b.dot(later, in[3]);
  return b.finish({b.mul(early, later)});
}

TEST_CASE("a chain does not wait for a later product if its inputs would pile up") {
  const GraphPtr large = fuse(*early_and_late(64));
  const Node& last = large->nodes.back();
  REQUIRE(last.op == &op::k_fused);
  CHECK(last.in.size() == 2);
  CHECK(region_of(last)->body->nodes.size() == 1);
  CHECK(count_ops(*large, op::k_fused) == 3);  // p0 + p1 does not wait for p2 and p3 either
  CHECK(count_ops(*fuse(*early_and_late(8)), op::k_fused) == 1);
}

TEST_CASE("reductions of products stay primitives unless something is computed around them") {
  Builder b;
  const Id x = b.input({DType::f64, {7, 9}});
  const Id z = b.dot(x, x, true);
  const GraphPtr plain = fuse(*b.finish({b.sum(z, {1})}));
  CHECK(count_ops(*plain, op::k_fused) == 0);
  CHECK(count_ops(*plain, op::k_sum) == 1);

  Builder s;
  const Id a = s.input({DType::f64, {7, 9}});
  const Id e = s.exp(s.sub(a, s.broadcast(s.max_reduce(a, {1}), {1}, {7, 9})));
  const GraphPtr softmax = fuse(*s.finish({s.div(e, s.broadcast(s.sum(e, {1}), {1}, {7, 9}))}));
  CHECK(softmax->nodes.size() == 1);
}

TEST_CASE("what is spread along the axis that a reversal turns is spread before") {
  Builder b;
  const Id x = b.input({DType::f32, {3}});
  const GraphPtr graph = b.finish({b.neg(b.reverse(b.broadcast(x, {0}, {3, 3}), {0}))});
  const GraphPtr fused = fuse(*graph);
  check_fused(*fused);
  CHECK(evaluate(*fused, {{1, 2, 3}}) == evaluate(*graph, {{1, 2, 3}}));
}

TEST_CASE("integers are fused one by one and run") {
  Builder b;
  const Id i = b.input({DType::i32, {5}});
  const GraphPtr fused = fuse(*b.finish({b.add(b.mul(i, i), i)}));
  check_fused(*fused);
  CHECK(count_ops(*fused, op::k_fused) == 2);
  CHECK(evaluate(*fused, {{0, 1, 2, 3, 4}})[0] == Tensor64{0, 2, 6, 12, 20});
}

}  // namespace
}  // namespace mixflow
