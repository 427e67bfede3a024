#include "transform/merge_dots.h"

#include <doctest/doctest.h>

#include <random>

#include "graph/verify.h"
#include "ops/builder.h"
#include "ops/op_list.h"
#include "ops/reference.h"
#include "transform/random_graph.h"
#include "transform/transform.h"

using namespace mixflow;

namespace {

const Type kSquare{DType::f64, {3, 3}};

void check_same_values(const Graph& before, const Graph& after, testing::RandomGraph& random) {
  verify(after);
  const std::vector<Tensor64> inputs = random.inputs_for(before);
  const std::vector<Tensor64> expected = evaluate(before, inputs);
  const std::vector<Tensor64> got = evaluate(after, inputs);
  REQUIRE(got.size() == expected.size());
  for (std::size_t k = 0; k < got.size(); ++k) {
    REQUIRE(got[k].size() == expected[k].size());
    for (std::size_t i = 0; i < got[k].size(); ++i) {
      CHECK(got[k][i] == doctest::Approx(expected[k][i]).epsilon(1e-12).scale(10));
    }
  }
}

// Merges, checks that the meaning is kept and that a second pass finds nothing more.
GraphPtr merge(const GraphPtr& graph) {
  testing::RandomGraph random(7);
  GraphPtr merged = merge_dots(*graph);
  check_same_values(*graph, *merged, random);
  const GraphPtr again = merge_dots(*merged);
  CHECK(count_nodes(*again) == count_nodes(*merged));
  CHECK(count_ops(*again, op::k_dot_sum) == count_ops(*merged, op::k_dot_sum));
  return merged;
}

const Node& only_dot_sum(const Graph& graph) {
  const Node* found = nullptr;
  for (const Node& node : graph.nodes) {
    if (node.op != &op::k_dot_sum) continue;
    REQUIRE(found == nullptr);
    found = &node;
  }
  REQUIRE(found != nullptr);
  return *found;
}

struct Operands {
  Builder b;
  Id x = b.input(kSquare), y = b.input(kSquare), z = b.input(kSquare), w = b.input(kSquare);
};

TEST_CASE("a sum of very many products is several, each added to the one before") {
  Operands o;
  Id sum = o.z;
  for (int i = 0; i < 30; ++i) sum = o.b.add(sum, o.b.dot(o.b.mul(o.x, i + 1.0), o.y));
  const GraphPtr merged = merge(o.b.finish({sum}));
  CHECK(count_ops(*merged, op::k_dot) == 0);
  CHECK(count_ops(*merged, op::k_add) == 0);
  const Node& last = *merged->producer(merged->outputs[0]);
  const Node& first = *merged->producer(last.in.back());
  CHECK(last.in.size() == 2 * 6 + 1);
  CHECK(first.in.size() == 2 * 24 + 1);
}

}  // namespace

TEST_CASE("a tangent's two products become one dot_sum, flags kept") {
  Operands o;
  const Id first = o.b.dot(o.x, o.y, true, false);
  const Id second = o.b.dot(o.z, o.w, false, true);
  const GraphPtr merged = merge(o.b.finish({o.b.sin(o.b.add(first, second))}));
  CHECK(only_dot_sum(*merged).in.size() == 4);
  CHECK(only_dot_sum(*merged).attrs.axes == Shape{1, 2});
  CHECK(count_ops(*merged, op::k_dot) == 0);
  CHECK(count_ops(*merged, op::k_add) == 0);
}

TEST_CASE("an input is accumulated onto, however the sum is bracketed") {
  for (const bool left : {false, true}) {
    Operands o;
    const Id first = o.b.dot(o.x, o.y);
    const Id second = o.b.dot(o.y, o.w);
    const Id sum =
        left ? o.b.add(o.b.add(o.z, first), second) : o.b.add(o.z, o.b.add(first, second));
    const GraphPtr merged = merge(o.b.finish({sum}));
    CHECK(only_dot_sum(*merged).in.size() == 5);
    CHECK(only_dot_sum(*merged).in.back() == merged->inputs[2]);
    CHECK(count_nodes(*merged) == 1);
  }
}

TEST_CASE("a product that others read stays, and serves as what is accumulated onto") {
  Operands o;
  const Id shared = o.b.dot(o.x, o.y);
  const Id sum = o.b.add(shared, o.b.dot(o.z, o.w));
  const GraphPtr merged = merge(o.b.finish({sum, o.b.sin(shared)}));
  CHECK(count_ops(*merged, op::k_dot) == 1);
  CHECK(only_dot_sum(*merged).in.size() == 3);
}

TEST_CASE("a product that is a result itself is not merged away") {
  Operands o;
  const Id first = o.b.dot(o.x, o.y);
  const Id second = o.b.dot(o.z, o.w);
  const GraphPtr merged = merge(o.b.finish({o.b.add(first, second), first, second}));
  CHECK(count_ops(*merged, op::k_dot) == 2);
  CHECK(count_ops(*merged, op::k_dot_sum) == 0);
}

TEST_CASE("an elementwise term is left to the fuse pass") {
  Operands o;
  const Id bias = o.b.sin(o.z);
  const GraphPtr one = merge(o.b.finish({o.b.add(o.b.dot(o.x, o.y), bias)}));
  CHECK(count_ops(*one, op::k_dot_sum) == 0);
  CHECK(count_ops(*one, op::k_add) == 1);

  Operands p;
  const Id two = p.b.add(p.b.add(p.b.dot(p.x, p.y), p.b.sin(p.z)), p.b.dot(p.y, p.w));
  const GraphPtr merged = merge(p.b.finish({two}));
  CHECK(only_dot_sum(*merged).in.size() == 4);
  CHECK(count_ops(*merged, op::k_add) == 1);
}

TEST_CASE("a sum that others read too ends the tree") {
  Operands o;
  const Id inner = o.b.add(o.b.dot(o.x, o.y), o.b.dot(o.y, o.z));
  const GraphPtr merged = merge(o.b.finish({o.b.add(inner, o.b.dot(o.z, o.w)), o.b.sin(inner)}));
  CHECK(count_ops(*merged, op::k_dot) == 0);
  CHECK(count_ops(*merged, op::k_dot_sum) == 2);  // the inner one, and one onto it
}

TEST_CASE("twice the same product is one product read twice, hence not merged") {
  Operands o;
  const Id product = o.b.dot(o.x, o.y);
  const GraphPtr merged = merge(o.b.finish({o.b.add(product, product)}));
  CHECK(count_ops(*merged, op::k_dot) == 1);
}

TEST_CASE("products are found behind the reshapes that a batch of rows leaves") {
  Builder b;
  const Type rows{DType::f64, {2, 5, 3}};
  const Id x = b.input(rows);
  const Id x_dot = b.input(rows);
  const Id w = b.input(kSquare);
  const Id w_dot = b.input(kSquare);
  const Id z = b.input(rows);
  const Id sum = b.add(z, b.add(b.dot(x_dot, w), b.dot(x, w_dot)));
  const GraphPtr merged = merge(b.finish({sum}));
  CHECK(only_dot_sum(*merged).in.size() == 5);
  CHECK(count_ops(*merged, op::k_add) == 0);
}

TEST_CASE("in a loop each sum accumulates onto its own carry, though another input would fit") {
  Builder body;
  const Id w = body.input(kSquare);
  const Id p = body.input(kSquare);
  const Id q = body.input(kSquare);
  const Id x = body.input(kSquare);
  // Both sums read both carries: the first result continues p, the second q.
  const Id next_p = body.add(body.add(q, body.dot(x, w)), p);
  const Id next_q = body.add(body.add(p, body.dot(w, x)), q);
  const GraphPtr step = body.finish({next_p, next_q});
  Builder b;
  const Id a = b.input(kSquare);
  const Id c = b.input(kSquare);
  const Id xs = b.input({DType::f64, {2, 3, 3}});
  const GraphPtr merged = merge(b.finish(b.scan(step, Ids{a}, Ids{a, c}, Ids{xs}, 2).carry));
  const Region* loop = region_of(merged->nodes[0]);
  REQUIRE(loop != nullptr);
  int found = 0;
  for (const Node& node : loop->body->nodes) {
    if (node.op != &op::k_dot_sum) continue;
    // The product x·w belongs to p, which is input 1; w·x to q, input 2.
    const bool first = node.in[0] == loop->body->inputs[3];
    CHECK(node.in.back() == loop->body->inputs[first ? 1 : 2]);
    ++found;
  }
  CHECK(found == 2);
}

TEST_CASE("a sum is made as soon as its operands exist, not where its last addition stood") {
  Operands o;
  const Id product = o.b.dot(o.x, o.y);
  const Id later = o.b.exp(o.b.dot(o.y, o.y));
  const GraphPtr merged = dce(*merge(o.b.finish({o.b.add(o.z, product), later})));
  CHECK(merged->nodes.front().op == &op::k_dot_sum);
}

TEST_CASE("a loop's result is accumulated onto") {
  Builder body;
  const Id carry = body.input(kSquare);
  const GraphPtr step = body.finish({body.sin(carry)});
  Operands o;
  const Id end = o.b.scan(step, {}, Ids{o.z}, {}, 2).carry[0];
  const GraphPtr merged = merge(o.b.finish({o.b.add(o.b.dot(o.x, o.y), end)}));
  CHECK(only_dot_sum(*merged).in.size() == 3);
}

TEST_CASE("sums of products at random keep their values and read no product twice") {
  for (unsigned seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    testing::RandomGraph random(seed);
    Builder b;
    Ids pool;
    for (int i = 0; i < 3; ++i) pool.push_back(b.input(kSquare));
    const auto pick = [&] {
      return pool[static_cast<std::size_t>(random.below(static_cast<int>(pool.size())))];
    };
    for (int i = 0; i < 14; ++i) {
      const Id x = pick();
      const Id y = pick();
      switch (random.below(5)) {
        case 0:
          pool.push_back(b.sin(x));
          break;
        case 1:
        case 2:
          pool.push_back(b.dot(x, b.sin(y), random.coin(), random.coin()));
          break;
        default:
          pool.push_back(b.mul(b.add(x, y), 1.0));
          break;
      }
    }
    const GraphPtr graph = b.finish({pool.back(), pool[pool.size() - 2]});
    const GraphPtr merged = merge_dots(*graph);
    check_same_values(*graph, *merged, random);
    // Every product of the graph is there once: in a dot or in one dot_sum.
    std::int64_t products = 0;
    for (const Node& node : merged->nodes) {
      if (node.op == &op::k_dot || node.op == &op::k_dot_sum) products += std::ssize(node.in) / 2;
    }
    CHECK(products == count_ops(*graph, op::k_dot));
  }
}
