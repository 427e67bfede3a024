#include "ops/builder.h"

#include <doctest/doctest.h>

#include <cmath>

#include "graph/verify.h"
#include "ops/op_list.h"
#include "ops/reference.h"
#include "util/error.h"

using namespace mixflow;

namespace {

const Type kRow{DType::f64, {3}};
const Type kMatrix{DType::f64, {2, 3}};

const OpDef* op_of(const Builder& b, Id id) {
  const Node* node = b.graph().producer(id);
  return node == nullptr ? nullptr : node->op;
}

GraphPtr doubled_body() {
  Builder b;
  const Id x = b.input(kRow, "x");
  return b.finish({b.add(x, x)});
}

}  // namespace

TEST_CASE("equal nodes are one node, also with commuted operands") {
  Builder b;
  const Id x = b.input(kRow);
  const Id y = b.input(kRow);
  CHECK(b.exp(x) == b.exp(x));
  CHECK(b.add(x, y) == b.add(y, x));
  CHECK(b.mul(x, y) == b.mul(y, x));
  CHECK(b.sub(x, y) != b.sub(y, x));
  CHECK(b.sum(b.input(kMatrix), {0}) != b.sum(b.input(kMatrix), {1}));
  CHECK(b.full(2, DType::f64) != b.full(2, DType::f32));
  CHECK(b.named(x, "a") != b.named(x, "b"));
}

TEST_CASE("a name is no other value: who reads a value is served by a node that reads its name") {
  Builder b;
  const Id x = b.input(kRow);
  const Id y = b.input(kRow);
  const Id named = b.named(b.exp(x), "e");
  CHECK(named != b.exp(x));
  CHECK(b.named(b.exp(x), "e") == named);
  CHECK(b.named(b.exp(x), "f") != named);
  const Id by_name = b.sub(y, named);
  CHECK(b.sub(y, b.exp(x)) == by_name);
  const Id z = b.tanh(y);  // later than the value, before its third name
  const Id sum = b.add(z, b.named(b.exp(x), "g"));
  CHECK(b.add(z, b.exp(x)) == sum);
  // The name stays where the value was read first.
  const Id by_value = b.mul(y, b.exp(x));
  CHECK(b.mul(y, named) != by_value);
}

TEST_CASE("binary operands are broadcast as in NumPy") {
  Builder b;
  const Id matrix = b.input(kMatrix);
  CHECK(b.shape(b.add(matrix, b.input(kRow))) == Shape{2, 3});
  CHECK(b.shape(b.mul(b.input({DType::f64, {2, 1}}), b.input(kRow))) == Shape{2, 3});
  CHECK(b.shape(b.select(b.input({DType::f64, {}}), b.input(kRow), matrix)) == Shape{2, 3});
  const Id two = b.input({DType::f64, {2}});
  CHECK_THROWS_AS(b.add(matrix, two), InternalError);
  CHECK_THROWS_AS(b.broadcast_to(matrix, {3}), InternalError);
  const Id single = b.input({DType::f32, {3}});
  const Id row = b.input(kRow);
  CHECK_THROWS_AS(b.add(row, single), InternalError);
}

TEST_CASE("a broadcast along an axis of size 1 repeats it") {
  Builder b;
  const Id column = b.input({DType::f64, {2, 1}});
  const GraphPtr graph = b.finish({b.broadcast_to(column, {2, 2, 3})});
  verify(*graph);
  CHECK(evaluate(*graph, {{5, 7}})[0] == Tensor64{5, 5, 5, 7, 7, 7, 5, 5, 5, 7, 7, 7});
}

TEST_CASE("adding and subtracting nothing leaves the operand") {
  Builder b;
  const Id x = b.input(kRow);
  const Id y = b.input(kRow);
  CHECK(b.add(x, b.zeros_like(x)) == x);
  CHECK(b.add(b.zeros_like(x), x) == x);
  CHECK(b.sub(x, b.zeros_like(x)) == x);
  CHECK(b.sub(b.zeros_like(x), x) == b.neg(x));
  CHECK(b.add(x, b.neg(y)) == b.sub(x, y));
  CHECK(b.add(b.neg(y), x) == b.sub(x, y));
  CHECK(b.sub(x, b.neg(y)) == b.add(x, y));
}

TEST_CASE("multiplying by 1, 0 and -1, and dividing by 1, need no product") {
  Builder b;
  const Id x = b.input(kRow);
  CHECK(b.mul(x, 1.0) == x);
  CHECK(b.mul(b.full_like(x, 1), x) == x);
  CHECK(b.is_full(b.mul(x, 0.0), 0));
  CHECK(b.shape(b.mul(x, 0.0)) == Shape{3});
  CHECK(b.mul(x, -1.0) == b.neg(x));
  CHECK(b.neg(b.neg(x)) == x);
  CHECK(b.div(x, b.full_like(x, 1)) == x);
  CHECK(b.is_full(b.div(b.zeros_like(x), x), 0));
  CHECK(b.pow(x, b.full_like(x, 1)) == x);
  CHECK(op_of(b, b.mul(x, 2.0)) == &op::k_mul);
}

TEST_CASE("elementwise ops of constants are constants") {
  Builder b;
  const Id two = b.full(2, DType::f64, {3});
  const Id three = b.full(3, DType::f64, {3});
  CHECK(b.is_full(b.add(two, three), 5));
  CHECK(b.is_full(b.exp(two), std::exp(2.0)));
  CHECK(b.is_full(b.less(two, three), 1));
  CHECK(b.shape(b.mul(two, three)) == Shape{3});
  const Id integer = b.convert(b.full(2, DType::f32), DType::i32);
  CHECK(b.is_full(integer, 2));
  CHECK(b.dtype(integer) == DType::i32);
  CHECK(op_of(b, b.log(b.full(-1, DType::f64))) == &op::k_log);  // not a number: left to the run
}

TEST_CASE("select with a constant mask or equal branches is a branch") {
  Builder b;
  const Id x = b.input(kRow);
  const Id y = b.input(kRow);
  CHECK(b.select(b.full_like(x, 1), x, y) == x);
  CHECK(b.select(b.zeros_like(x), x, y) == y);
  CHECK(b.select(b.less(x, y), x, x) == x);
}

TEST_CASE("conversions to the same type and repeated stop_gradients vanish") {
  Builder b;
  const Id x = b.input(kRow);
  CHECK(b.convert(x, DType::f64) == x);
  CHECK(op_of(b, b.convert(x, DType::f32)) == &op::k_convert);
  const Id stopped = b.stop_gradient(x);
  CHECK(stopped != x);
  CHECK(b.stop_gradient(stopped) == stopped);
  const Id one = b.full(1, DType::f64);
  CHECK(b.stop_gradient(one) == one);
}

TEST_CASE("shape changes that change nothing vanish, and others compose") {
  Builder b;
  const Id x = b.input({DType::f64, {2, 3, 4}});
  CHECK(b.reshape(x, {2, 3, 4}) == x);
  CHECK(b.reshape(b.reshape(x, {6, 4}), {24}) == b.reshape(x, {24}));
  CHECK(b.reshape(b.reshape(x, {6, 4}), {2, 3, 4}) == x);
  CHECK(b.transpose(x, {0, 1, 2}) == x);
  CHECK(b.transpose(b.transpose(x, {1, 2, 0}), {2, 0, 1}) == x);
  CHECK(b.transpose(b.transpose(x, {1, 2, 0}), {1, 2, 0}) == b.transpose(x, {2, 0, 1}));
  CHECK(b.broadcast(x, {}, {2, 3, 4}) == x);
  CHECK(b.broadcast_to(x, {2, 3, 4}) == x);
  CHECK(b.slice(x, {0, 0, 0}, {2, 3, 4}) == x);
  CHECK(b.pad(x, {0, 0, 0}, {2, 3, 4}) == x);
  CHECK(b.reverse(x, {}) == x);
  const Id column = b.input({DType::f64, {4, 1}});
  CHECK(b.reverse(column, {1}) == column);
  CHECK(b.reverse(column, {0, 1}) == b.reverse(column, {0}));
  CHECK(b.reverse(b.reverse(x, {1}), {1}) == x);
  CHECK(op_of(b, b.reverse(b.reverse(x, {1}), {2})) == &op::k_reverse);
  CHECK(b.concat(Ids{x}, 1) == x);
  CHECK(b.sum(x, {}) == x);
  CHECK(b.max_reduce(x, {}) == x);
}

TEST_CASE("a broadcast of a broadcast is one broadcast") {
  Builder b;
  const Id x = b.input({DType::f64, {3}});
  const Id inner = b.broadcast(x, {0, 2}, {2, 3, 4});
  CHECK(b.broadcast(inner, {1}, {2, 5, 3, 4}) == b.broadcast(x, {0, 1, 3}, {2, 5, 3, 4}));
  CHECK(b.broadcast(inner, {0}, {5, 2, 3, 4}) == b.broadcast(x, {0, 1, 3}, {5, 2, 3, 4}));
  CHECK(b.broadcast(inner, {3}, {2, 3, 4, 5}) == b.broadcast(x, {0, 2, 3}, {2, 3, 4, 5}));
}

TEST_CASE("moving a constant around leaves a constant of the new shape") {
  Builder b;
  const Id c = b.full(3, DType::f64, {2, 3});
  const auto is_three = [&](Id id, const Shape& shape) {
    return b.is_full(id, 3) && b.shape(id) == shape;
  };
  CHECK(is_three(b.broadcast(c, {0}, {4, 2, 3}), {4, 2, 3}));
  CHECK(is_three(b.reshape(c, {6}), {6}));
  CHECK(is_three(b.transpose(c, {1, 0}), {3, 2}));
  CHECK(is_three(b.slice(c, {0, 1}, {1, 3}), {1, 2}));
  CHECK(is_three(b.reverse(c, {0}), {2, 3}));
  CHECK(is_three(b.concat(Ids{c, c}, 0), {4, 3}));
  CHECK(is_three(b.max_reduce(c, {0}), {3}));
  CHECK(is_three(b.gather(c, b.input({DType::i32, {5}})), {5, 3}));
  CHECK(op_of(b, b.pad(c, {0, 0}, {3, 3})) == &op::k_pad);
  CHECK(b.is_full(b.pad(b.zeros_like(c), {0, 0}, {3, 3}), 0));
  const Id updates = b.full(0, DType::f64, {5, 3});
  CHECK(b.is_full(b.scatter_add(updates, b.input({DType::i32, {5}}), 7), 0));
}

TEST_CASE("sums of repeated values are products") {
  Builder b;
  const Id x = b.input(kRow);
  CHECK(b.is_full(b.sum(b.full(3, DType::f64, {2, 4}), {0, 1}), 24));
  CHECK(b.sum(b.broadcast(x, {0}, {4, 3}), {0}) == b.mul(x, 4.0));
  CHECK(op_of(b, b.sum(b.broadcast(x, {0}, {4, 3}), {1})) == &op::k_sum);
}

TEST_CASE("means divide by the number of elements reduced") {
  Builder b;
  const Id x = b.input(kMatrix);
  const GraphPtr graph = b.finish({b.mean(x, {0}), b.mean_all(x)});
  const std::vector<Tensor64> out = evaluate(*graph, {{0, 1, 2, 4, 5, 6}});
  CHECK(out[0] == Tensor64{2, 3, 4});
  CHECK(out[1][0] == doctest::Approx(3));
}

TEST_CASE("dot takes transposed operands as flags") {
  Builder b;
  const Id x = b.input({DType::f64, {2, 3}});
  const Id w = b.input({DType::f64, {4, 3}});
  CHECK(b.dot(x, b.transpose(w, {1, 0})) == b.dot(x, w, false, true));
  CHECK(b.dot(b.transpose(x, {1, 0}), x) == b.dot(x, x, true));
  CHECK(b.dot(b.transpose(x, {1, 0}), w, true, true) == b.dot(x, w, false, true));
  const Id many = b.input({DType::f64, {5, 2, 3}});
  CHECK(b.dot(many, b.transpose(many, {0, 2, 1})) == b.dot(many, many, false, true));
  const Id swapped = b.transpose(many, {1, 0, 2});
  CHECK(b.graph().producer(b.dot(swapped, swapped, true))->in[0] == swapped);
  CHECK(b.is_full(b.dot(x, b.full(0, DType::f64, {3, 6})), 0));
}

TEST_CASE("dot shares a matrix with a batch: as more rows where it can, else repeated") {
  Builder b;
  const Id batch = b.input({DType::f64, {5, 7, 2, 3}});
  const Id w = b.input({DType::f64, {3, 4}});
  const Id rows = b.dot(batch, w);
  CHECK(b.shape(rows) == Shape{5, 7, 2, 4});
  const Id product = b.graph().producer(rows)->in[0];
  CHECK(op_of(b, product) == &op::k_dot);
  CHECK(b.shape(product) == Shape{70, 4});
  CHECK(b.shape(b.dot(batch, b.input({DType::f64, {2, 4}}), true)) == Shape{5, 7, 3, 4});
  CHECK(b.shape(b.dot(b.input({DType::f64, {6, 2}}), batch)) == Shape{5, 7, 6, 3});
  CHECK_THROWS_AS(b.dot(b.input(kRow), w), InternalError);
}

TEST_CASE("shape rules refuse before any simplification") {
  Builder b;
  const Id row = b.input(kRow);
  const Id zero = b.full(0, DType::f64, {2});
  CHECK_THROWS_AS(b.emit(op::k_mul, {row, zero}), InternalError);
  CHECK_THROWS_AS(b.emit(op::k_add, {row}), InternalError);
  CHECK_THROWS_AS(b.emit(op::k_exp, {Id{77}}), InternalError);
  CHECK_THROWS_AS(b.emit(op::k_scan, {row}), InternalError);
}

TEST_CASE("finish drops dead nodes, keeps all inputs and renumbers in order") {
  Builder b;
  const Id unused = b.input(kRow, "unused");
  const Id x = b.input(kRow, "x");
  const Id dead = b.exp(x);
  b.tanh(dead);
  const Id y = b.sin(x);
  const GraphPtr graph = b.finish({y, x, y});
  verify(*graph);
  CHECK(graph->nodes.size() == 1);
  CHECK(graph->values.size() == 3);
  CHECK(graph->inputs == Ids{unused, x});
  CHECK(graph->outputs == Ids{2, 1, 2});
  CHECK(graph->values[1].name == "x");
}

TEST_CASE("structural nodes are shared only with the same region and the same inputs") {
  Builder b;
  const Id x = b.input(kRow);
  const GraphPtr body = doubled_body();
  const Ids first = b.scan(body, {}, Ids{x}, {}, 3).carry;
  const Ids second = b.scan(body, {}, Ids{x}, {}, 3).carry;
  CHECK(first != second);
  const auto region = b.graph().producer(first[0])->attrs.region;
  CHECK(b.emit_region(op::k_scan, Ids{x}, region) == first);
  CHECK(b.emit_region(op::k_scan, Ids{b.exp(x)}, region) != first);
}

TEST_CASE("scan, map and grad group their inputs and outputs") {
  Builder body;
  const Id weight = body.input(kRow);
  const Id state = body.input(kRow);
  const Id slice = body.input(kRow);
  const Id next = body.add(body.mul(weight, state), slice);
  const GraphPtr step = body.finish({next, slice});
  Builder b;
  const Id x = b.input(kRow);
  const Id xs = b.input({DType::f64, {4, 3}});
  const Builder::Loop loop = b.scan(step, Ids{x}, Ids{x}, Ids{xs}, 4);
  CHECK(b.shape(loop.carry[0]) == Shape{3});
  CHECK(b.shape(loop.ys[0]) == Shape{4, 3});
  CHECK_THROWS_AS(b.scan(step, Ids{x}, Ids{x}, Ids{xs}, 5), InternalError);

  Builder term;
  const Id factor = term.input(kRow);
  const Id row = term.input(kRow);
  const Id product = term.mul(factor, row);
  const GraphPtr product_and_square = term.finish({product, term.square(product)});
  const Builder::Loop sums = b.map(product_and_square, Ids{x}, Ids{xs}, 4, 1);
  CHECK(b.shape(sums.carry[0]) == Shape{3});
  CHECK(b.shape(sums.ys[0]) == Shape{4, 3});
  const Ids in = b.graph().producer(sums.carry[0])->in;
  REQUIRE(in.size() == 3);
  CHECK(b.is_full(in[1], 0));  // the sum starts from zero, between constants and xs

  Builder loss;
  const Id theta = loss.input(kRow);
  const Id data = loss.input(kRow);
  const GraphPtr square_error = loss.finish({loss.sum_all(loss.square(loss.sub(theta, data)))});
  const Builder::Grad grad = b.grad(square_error, Ids{x}, Ids{loop.carry[0]}, GradMode::mixed);
  CHECK(b.shape(grad.loss).empty());
  CHECK(b.shape(grad.grads[0]) == Shape{3});
  verify(*b.finish({loop.ys[0], sums.ys[0], grad.loss, grad.grads[0]}));
}

TEST_CASE("an extended scan keeps its ids, appends outputs and is not found under its old region") {
  Builder b;
  const Id x = b.input(kRow);
  const Ids old = b.scan(doubled_body(), {}, Ids{x}, {}, 3).carry;
  const Id user = b.exp(old[0]);
  const std::int32_t node = b.graph().values[static_cast<std::size_t>(old[0])].node;
  const auto before = b.graph().nodes[static_cast<std::size_t>(node)].attrs.region;
  Builder body;
  const Id state = body.input(kRow);
  auto region = std::make_shared<Region>(*before);
  region->body = body.finish({body.add(state, state), state});
  const Ids added = b.extend_loop(node, region);
  REQUIRE(added.size() == 1);
  CHECK(b.shape(added[0]) == Shape{3, 3});
  CHECK(b.emit_region(op::k_scan, Ids{x}, region) == Ids{old[0], added[0]});
  CHECK(b.emit_region(op::k_scan, Ids{x}, before) != old);
  const GraphPtr graph = b.finish({user, added[0]});
  verify(*graph);
  const std::vector<Tensor64> out = evaluate(*graph, {{0, 1, 2}});
  CHECK(out[0][1] == std::exp(8.0));
  CHECK(out[1] == Tensor64{0, 1, 2, 0, 2, 4, 0, 4, 8});
}

TEST_CASE("inlining binds inputs, shares nodes and keeps labels and names") {
  Builder inner;
  const Id u = inner.input(kRow);
  const Id v = inner.input(kRow);
  inner.set_label("layers.0");
  const GraphPtr graph = inner.finish({inner.named(inner.mul(u, v), "product"), u});
  Builder b;
  const Id x = b.input(kRow);
  const Id y = b.input(kRow);
  const Id known = b.mul(x, y);
  Ids out;
  {
    const Builder::Scope loss(b, "loss");
    const Builder::Scope model(b, "model");
    CHECK(b.label() == "loss/model");
    out = b.inline_graph(*graph, Ids{x, y});
  }
  CHECK(b.label().empty());
  CHECK(out[1] == x);
  const Node named = *b.graph().producer(out[0]);
  CHECK(named.in[0] == known);
  CHECK(named.attrs.name == "product");
  CHECK(named.label == "loss/model/layers.0");
  CHECK_THROWS_AS(b.inline_graph(*graph, Ids{x}), InternalError);
  const Id matrix = b.input(kMatrix);
  CHECK_THROWS_AS(b.inline_graph(*graph, Ids{x, matrix}), InternalError);
}
