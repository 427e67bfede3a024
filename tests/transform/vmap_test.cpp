#include <doctest/doctest.h>

#include <cmath>

#include "graph/verify.h"
#include "ops/builder.h"
#include "ops/op_list.h"
#include "ops/reference.h"
#include "transform/random_graph.h"
#include "transform/transform.h"

using namespace mixflow;

namespace {

constexpr std::size_t kInstances = 4;

// vmap(graph) on drawn inputs against one evaluation per instance.
void check_against_instances(testing::RandomGraph& random, const Graph& graph,
                             const Mask& batched) {
  const GraphPtr all = vmap(graph, batched, kInstances);
  verify(*all);
  for (std::size_t j = 0; j < graph.outputs.size(); ++j) {
    CHECK(all->type(all->outputs[j]) == stacked(graph.type(graph.outputs[j]), kInstances));
  }
  const std::vector<Tensor64> in = random.inputs_for(*all);
  const std::vector<Tensor64> out = evaluate(*all, in);
  for (std::size_t instance = 0; instance < kInstances; ++instance) {
    std::vector<Tensor64> one;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const std::size_t size = batched[i] ? in[i].size() / kInstances : in[i].size();
      const std::size_t start = batched[i] ? instance * size : 0;
      one.emplace_back(in[i].data() + start, in[i].data() + start + size);
    }
    const std::vector<Tensor64> expected = evaluate(graph, one);
    for (std::size_t j = 0; j < expected.size(); ++j) {
      const double* start = out[j].data() + instance * expected[j].size();
      REQUIRE(Tensor64(start, start + expected[j].size()) == expected[j]);
    }
  }
}

}  // namespace

TEST_CASE("vmap of random graphs, loops included, is the stack of its instances to the last bit") {
  int with_loops = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    testing::RandomGraph random(seed);
    const GraphPtr graph = random.make();
    Mask batched;
    for (std::size_t i = 0; i < graph->inputs.size(); ++i) batched.push_back(random.coin());
    if (count_ops(*graph, op::k_scan) + count_ops(*graph, op::k_map) > 0) ++with_loops;
    check_against_instances(random, *graph, batched);
  }
  CHECK(with_loops > 150);
}

TEST_CASE("vmap of vmap is vmap over both axes") {
  for (unsigned seed = 0; seed < 40; ++seed) {
    CAPTURE(seed);
    testing::RandomGraph random(seed);
    const GraphPtr once = vmap(*random.make(), {true, false, true, false}, 2);
    check_against_instances(random, *once, {false, true, true, false});
  }
}

TEST_CASE("what depends on no batched input stays as it is") {
  Builder b;
  const Id x = b.input(testing::kRow);
  const Id y = b.input(testing::kRow);
  const GraphPtr graph = b.finish({b.mul(b.exp(x), y), b.exp(x)});
  const GraphPtr all = vmap(*graph, {false, true}, 5);
  const Node& exp = all->nodes[0];
  CHECK(exp.op == &op::k_exp);
  CHECK(all->type(exp.out[0]) == testing::kRow);
  CHECK(all->type(all->outputs[1]).shape == Shape{5, 3});  // but all outputs have the axis
}

TEST_CASE("only the carries that meet batched values are batched, found through other carries") {
  Builder body;
  const Id c = body.input(testing::kRow);
  const Id late = body.input(testing::kRow);
  const Id later = body.input(testing::kRow);
  const Id never = body.input(testing::kRow);
  const GraphPtr step = body.finish({body.add(late, c), body.add(later, late), body.sin(never)});
  Builder b;
  const Id x = b.input(testing::kRow);
  const Id y = b.input(testing::kRow);
  const GraphPtr graph = b.finish(b.scan(step, Ids{x}, Ids{y, y, y}, {}, 3).carry);
  const GraphPtr all = vmap(*graph, {true, false}, 5);
  verify(*all);
  const Node* loop = nullptr;
  for (const Node& node : all->nodes) {
    if (node.op == &op::k_scan) loop = &node;
  }
  REQUIRE(loop != nullptr);
  CHECK(all->type(loop->out[0]).shape == Shape{5, 3});
  CHECK(all->type(loop->out[1]).shape == Shape{5, 3});
  CHECK(all->type(loop->out[2]).shape == Shape{3});
}

TEST_CASE("nodes of one region and one pattern share the batched region") {
  Builder body;
  const GraphPtr step = body.finish({body.sin(body.input(testing::kRow))});
  Builder b;
  const Id x = b.input(testing::kRow);
  const Ids first = b.scan(step, {}, Ids{x}, {}, 2).carry;
  const Ids second = b.emit_region(op::k_scan, first, b.graph().producer(first[0])->attrs.region);
  const GraphPtr all = vmap(*b.finish(second), {true}, 5);
  REQUIRE(all->nodes.size() == 2);
  CHECK(all->nodes[0].attrs.region == all->nodes[1].attrs.region);
}

TEST_CASE("lookups batch in the table, in the index and in both") {
  Builder b;
  const Id table = b.input({DType::f64, {6, 3}});
  const Id steps = b.iota(DType::i32, {4}, 0);
  const Id position = b.input({DType::f64, {}});
  const Id index = b.add(steps, b.convert(b.less(b.full(0, DType::f64), position), DType::i32));
  const Id rows = b.gather(table, index);
  const GraphPtr graph = b.finish(
      {rows, b.scatter_add(rows, index, 6), b.mul(b.one_hot(index, 6, DType::f64), position)});
  for (const Mask& batched : {Mask{true, false}, Mask{false, true}, Mask{true, true}}) {
    testing::RandomGraph random(7);
    check_against_instances(random, *graph, batched);
  }
}

TEST_CASE("products batch in either operand and in both") {
  for (const bool trans_a : {false, true}) {
    for (const bool trans_b : {false, true}) {
      Builder b;
      const Id x = b.input({DType::f64, trans_a ? Shape{3, 2} : Shape{2, 3}});
      const Id y = b.input({DType::f64, trans_b ? Shape{4, 3} : Shape{3, 4}});
      const GraphPtr graph = b.finish({b.dot(x, y, trans_a, trans_b)});
      for (const Mask& batched : {Mask{true, false}, Mask{false, true}, Mask{true, true}}) {
        testing::RandomGraph random(7);
        check_against_instances(random, *graph, batched);
      }
    }
  }
}

TEST_CASE("gradients are batched as the gradients of the instances") {
  Builder loss;
  const Id theta = loss.input(testing::kRow);
  const Id data = loss.input(testing::kRow);
  const GraphPtr error = loss.finish({loss.sum_all(loss.mul(loss.sin(theta), data))});
  Builder b;
  const Id x = b.input(testing::kRow);
  const Id y = b.input(testing::kRow);
  const Builder::Grad grad = b.grad(error, Ids{x}, Ids{y}, GradMode::mixed);
  const GraphPtr symbolic = b.finish({grad.loss, grad.grads[0]});
  const GraphPtr all = vmap(*symbolic, {true, false}, 2);
  verify(*all);
  const std::vector<Tensor64> out = evaluate(*all, {{1, 2, 3, 4, 5, 6}, {1, -1, 2}});
  REQUIRE(out[1].size() == 6);
  for (std::size_t i = 0; i < 6; ++i) {
    const double weight = std::vector<double>{1, -1, 2}[i % 3];
    CHECK(out[1][i] == doctest::Approx(weight * std::cos(static_cast<double>(i) + 1)));
  }
  CHECK(out[0][1] == doctest::Approx(std::sin(4.0) - std::sin(5.0) + 2 * std::sin(6.0)));
}
