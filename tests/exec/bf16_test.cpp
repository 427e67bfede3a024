// Programs in bf16: what is packed before loops is planned memory like any other, and gives the
// products that the graph says.
#include <doctest/doctest.h>

#include <cmath>

#include "exec/run.h"

namespace mixflow {
namespace {

using testing::give;
using testing::take;

// (w, v | x) -> (sum of x w w^T, x v): w in both orientations.
GraphPtr body() {
  Builder b;
  const Type square{DType::f32, {64, 64}};
  const Id w = b.input(square), v = b.input(square), x = b.input(square);
  return b.finish({b.dot(b.dot(x, w), w, false, true), b.dot(x, v)});
}

TEST_CASE("a program in bf16 packs factors once and computes what its graph says") {
  constexpr std::int64_t kBlocks = 6;
  Builder b;
  const Ids consts{b.input({DType::f32, {64, 64}}), b.input({DType::f32, {64, 64}})};
  const Ids xs{b.input({DType::f32, {kBlocks, 64, 64}})};
  const Builder::Loop loop = b.map(body(), consts, xs, kBlocks, 1);
  const GraphPtr graph = b.finish({loop.carry[0], loop.ys[0]});
  // Few bits, so that nothing is lost when operands are rounded: w has 1s in its diagonal alone.
  std::vector<Tensor64> inputs = testing::draw_for(*graph, 5);
  for (Tensor64& input : inputs) {
    for (double& x : input) x = std::nearbyint(x * 64) / 64;
  }
  for (std::size_t i = 0; i < inputs[0].size(); ++i) inputs[0][i] = i % 65 == 0 ? 2 : 0;
  const std::vector<Tensor64> expected = evaluate(*graph, inputs);
  for (int threads = 1; threads <= 3; ++threads) {
    CAPTURE(threads);
    Executor executor(compile(graph, {}, {.threads = threads, .bf16 = true, .poison = true}),
                      {.checked = true});
    const Graph& program = *executor.program().graph;
    CHECK(count_ops(program, op::k_pack_bf16) == 4);  // x as a left factor, inside
    CHECK(std::ranges::count(program.nodes, &op::k_pack_bf16, &Node::op) == 3);
    std::vector<std::vector<testing::Bytes>> runs;
    for (int repeat = 0; repeat < 2; ++repeat) {
      give(executor, *graph, inputs);
      executor.run();
      CHECK(executor.arena_peak_bytes() == executor.program().dynamic_bytes);
      runs.push_back(take(executor, *graph));
    }
    CHECK(runs[0] == runs[1]);
    for (std::size_t k = 0; k < expected.size(); ++k) {
      double worst = 0;
      for (std::size_t e = 0; e < expected[k].size(); ++e) {
        float found = 0;
        std::memcpy(&found, &runs[0][k][4 * e], 4);
        const double error = std::abs(static_cast<double>(found) - expected[k][e]);
        worst = error <= worst ? worst : error;  // a NaN stays
      }
      CHECK(worst < 1e-4);
    }
  }
  CHECK(count_ops(*compile(graph, {}, {})->graph, op::k_pack_bf16) == 0);
}

}  // namespace
}  // namespace mixflow
