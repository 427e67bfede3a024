#include "exec/executor.h"

#include <doctest/doctest.h>

#include "exec/run.h"
#include "ops/op_list.h"
#include "ops/reference.h"

namespace mixflow {
namespace {

using testing::give;
using testing::random_program;
using testing::retyped;
using testing::stored;
using testing::take;

TEST_CASE("A checked run of a plan gives the bits of the reference order of evaluation in f64") {
  for (unsigned seed = 0; seed < 150; ++seed) {
    CAPTURE(seed);
    const GraphPtr graph = random_program(seed);
    testing::RandomGraph random(seed + 1000);
    const std::vector<Tensor64> inputs = random.inputs_for(*graph);
    Executor executor(compile(graph, {}, {.poison = true}), {.checked = true});
    give(executor, *graph, inputs);
    executor.run();
    const auto expected = stored(evaluate(*executor.program().graph, inputs), *graph);
    CHECK(take(executor, *graph) == expected);
    executor.run();
    CHECK(take(executor, *graph) == expected);
    CHECK(executor.arena_peak_bytes() == executor.program().dynamic_bytes);
  }
}

TEST_CASE(
    "The fast path gives the same bits with shared memory as with memory of its own for every "
    "value") {
  for (unsigned seed = 0; seed < 150; ++seed) {
    CAPTURE(seed);
    const GraphPtr graph = retyped(*random_program(seed), DType::f32);
    testing::RandomGraph random(seed + 1000);
    const std::vector<Tensor64> inputs = random.inputs_for(*graph);
    Executor shared(compile(graph, {}, {.poison = true}), {.checked = true});
    Executor apart(compile(graph, {}, {.share = false}));
    for (Executor* executor : {&shared, &apart}) {
      give(*executor, *graph, inputs);
      executor->run();
      CHECK(executor->arena_peak_bytes() == executor->program().dynamic_bytes);
    }
    CHECK(take(shared, *graph) == take(apart, *graph));
    CHECK(shared.program().dynamic_bytes <= apart.program().dynamic_bytes);
  }
}

TEST_CASE("A parallel map's sums do not depend on timing, and its workspaces are planned") {
  Builder inner;
  const Id w = inner.input({DType::f32, {8, 8}});
  const Id x = inner.input({DType::f32, {4, 8}});
  const Id y = inner.tanh(inner.dot(x, w));
  const GraphPtr body = inner.finish({inner.dot(x, y, true), y});
  Builder b;
  const Id weights = b.input({DType::f32, {8, 8}});
  const Id xs = b.input({DType::f32, {7, 4, 8}});
  const Builder::Loop loop = b.map(body, std::vector<Id>{weights}, std::vector<Id>{xs}, 7, 1);
  const GraphPtr graph = b.finish({loop.carry[0], loop.ys[0]});
  testing::RandomGraph random(3);
  const std::vector<Tensor64> inputs = random.inputs_for(*graph);
  const std::vector<Tensor64> exact = evaluate(*graph, inputs);
  std::vector<testing::Bytes> first;
  for (int repeat = 0; repeat < 20; ++repeat) {
    Executor executor(compile(graph, {}, {.threads = 3}));
    give(executor, *graph, inputs);
    executor.run();
    CHECK(executor.arena_peak_bytes() == executor.program().dynamic_bytes);
    const auto outputs = take(executor, *graph);
    if (repeat == 0) first = outputs;
    CHECK(outputs == first);
  }
  const auto* sums = reinterpret_cast<const float*>(first[0].data());
  for (std::size_t e = 0; e < exact[0].size(); ++e)
    CHECK(sums[e] == doctest::Approx(exact[0][e]).epsilon(1e-5));
}

TEST_CASE("A donated input holds its output after the run") {
  Builder b;
  const Id eta = b.input({DType::f32, {5}});
  const Id rate = b.input({DType::f32, {}});
  const GraphPtr graph = b.finish({b.mul(eta, rate), b.sum_all(b.square(eta))});
  Executor executor(compile(graph, {{.input = 0, .output = 0}}, {.poison = true}),
                    {.checked = true});
  give(executor, *graph, {{1, 2, 3, 4, 5}, {2}});
  executor.run();
  executor.run();
  CHECK(executor.output(0) == executor.input(0));
  CHECK(reinterpret_cast<const float*>(executor.input(0))[4] == 20.0f);
  CHECK(reinterpret_cast<const float*>(executor.output(1))[0] == 4.0f * 55.0f);
}

TEST_CASE("A scan that swaps its carries keeps both") {
  Builder inner;
  const Id p = inner.input({DType::f32, {3}});
  const Id q = inner.input({DType::f32, {3}});
  const GraphPtr body = inner.finish({q, p});
  Builder b;
  const Ids init{b.input({DType::f32, {3}}), b.input({DType::f32, {3}})};
  const Builder::Loop loop = b.scan(body, {}, init, {}, 3);
  const GraphPtr graph = b.finish({loop.carry[0], loop.carry[1]});
  Executor executor(compile(graph, {}, {.poison = true}), {.checked = true});
  give(executor, *graph, {{1, 2, 3}, {4, 5, 6}});
  executor.run();
  CHECK(reinterpret_cast<const float*>(executor.output(0))[0] == 4.0f);
  CHECK(reinterpret_cast<const float*>(executor.output(1))[2] == 3.0f);
}

}  // namespace
}  // namespace mixflow
