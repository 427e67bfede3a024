#include "ops/reference.h"

#include <doctest/doctest.h>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "util/error.h"

namespace mixflow {
namespace {

const Type kScalar{DType::f64, {}};

// carry' = a carry + x,  y = carry' before it is added to
GraphPtr horner_body() {
  Builder b;
  const Id a = b.input(kScalar);
  const Id carry = b.input(kScalar);
  const Id x = b.input(kScalar);
  return b.finish({b.add(b.mul(a, carry), x), carry});
}

std::vector<Tensor64> run_horner(bool reverse) {
  Builder b;
  const Id a = b.input(kScalar), start = b.input(kScalar), xs = b.input({DType::f64, {3}});
  const Builder::Loop loop = b.scan(horner_body(), Ids{a}, Ids{start}, Ids{xs}, 3, reverse);
  return evaluate(*b.finish({loop.carry[0], loop.ys[0]}), {{10}, {0}, {1, 2, 3}});
}

TEST_CASE("A scan threads its carry through the iterations and stacks what they yield") {
  CHECK(run_horner(false) == std::vector<Tensor64>{{123}, {0, 1, 12}});
}

TEST_CASE("A reverse scan runs from the last slice and stacks by slice, not by time") {
  CHECK(run_horner(true) == std::vector<Tensor64>{{321}, {32, 3, 0}});
}

TEST_CASE("A scan slices and stacks along the first axis") {
  Builder inner;
  const Id carry = inner.input({DType::f64, {2}});
  const Id x = inner.input({DType::f64, {2}});
  const Id sum = inner.add(carry, x);
  const GraphPtr body = inner.finish({sum, sum});
  Builder b;
  const Id start = b.input({DType::f64, {2}}), xs = b.input({DType::f64, {3, 2}});
  const Builder::Loop loop = b.scan(body, {}, Ids{start}, Ids{xs}, 3);
  const auto out = evaluate(*b.finish({loop.ys[0]}), {{0, 100}, {1, 2, 3, 4, 5, 6}});
  CHECK(out[0] == Tensor64{1, 102, 4, 106, 9, 112});
}

TEST_CASE("A map adds up its sums from their initial values and stacks the rest") {
  Builder inner;
  const Id scale = inner.input(kScalar);
  const Id x = inner.input(kScalar);
  const Id y = inner.mul(scale, x);
  const GraphPtr body = inner.finish({y, inner.neg(y)});
  auto region = std::make_shared<Region>();
  region->body = body;
  region->n = 3;
  region->num_consts = 1;
  region->num_carry = 1;
  region->num_xs = 1;
  Builder b;
  const Id a = b.input(kScalar), init = b.input(kScalar), xs = b.input({DType::f64, {3}});
  const Ids out = b.emit_region(op::k_map, Ids{a, init, xs}, region);
  CHECK(evaluate(*b.finish(out), {{2}, {100}, {1, 2, 3}}) ==
        std::vector<Tensor64>{{112}, {-2, -4, -6}});
}

TEST_CASE("A fused node is what its body is") {
  Builder inner;
  const Id x = inner.input({DType::f64, {2}});
  const GraphPtr body = inner.finish({inner.square(x), inner.neg(x)});
  auto region = std::make_shared<Region>();
  region->body = body;
  Builder b;
  const Ids out = b.emit_region(op::k_fused, Ids{b.input({DType::f64, {2}})}, region);
  CHECK(evaluate(*b.finish(out), {{3, -4}}) == std::vector<Tensor64>{{9, 16}, {-3, 4}});
}

TEST_CASE("A grad node must be lowered before it is evaluated") {
  Builder inner;
  const Id theta = inner.input(kScalar);
  const GraphPtr loss = inner.finish({inner.square(theta)});
  Builder b;
  const Id x = b.input(kScalar);
  const GraphPtr graph = b.finish(b.grad(loss, Ids{x}, {}, GradMode::mixed).grads);
  CHECK_THROWS_WITH_AS(evaluate(*graph, {{1}}), doctest::Contains("lower_grad"), InternalError);
}

TEST_CASE("Outputs may be inputs and may repeat") {
  Builder b;
  const Id x = b.input({DType::f64, {2}});
  CHECK(evaluate(*b.finish({x, x}), {{1, 2}}) == std::vector<Tensor64>{{1, 2}, {1, 2}});
}

TEST_CASE("Inputs of the wrong number or size are refused") {
  Builder b;
  const Id x = b.input({DType::f64, {2}});
  const GraphPtr graph = b.finish({b.neg(x)});
  CHECK_THROWS_AS(evaluate(*graph, {}), InternalError);
  CHECK_THROWS_AS(evaluate(*graph, {{1, 2, 3}}), InternalError);
}

TEST_CASE("A single node can be run on buffers of the caller") {
  Builder b;
  const Id x = b.input({DType::f64, {2}}), y = b.input({DType::f64, {2}});
  const GraphPtr graph = b.finish({b.sub(x, y)});
  const Tensor64 left{5, 7}, right{1, 2};
  Tensor64 out(2);
  const std::vector<const double*> in{left.data(), right.data()};
  run_reference(*graph, graph->nodes[0], in, out.data());
  CHECK(out == Tensor64{4, 5});
}

}  // namespace
}  // namespace mixflow
