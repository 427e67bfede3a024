// jvp and vjp of straight-line graphs.
#include <doctest/doctest.h>

#include "ops/op_list.h"
#include "transform/check_derivatives.h"
#include "transform/reachable.h"
#include "util/error.h"

namespace mixflow {
namespace {

using namespace mixflow::testing;

// A graph of one op on all its float inputs.
GraphPtr graph_of(const OpDef& op, const Sample& sample) {
  Builder b;
  Ids in;
  for (const Type& type : sample.in) in.push_back(b.input(type));
  const Id out = b.emit(op, in, sample.attrs);
  return b.finish({out});
}

bool is_differentiable(const OpDef& op, const Sample& sample) {
  return !has_deriv<NonDiff>(op) && !has_deriv<Structural>(op) && !sample.in.empty() &&
         is_float(sample.in[0].dtype) && is_float(op.infer(sample.in, sample.attrs).dtype);
}

// Only small samples: the reference evaluates several derivatives of each.
bool is_small(const Sample& sample) {
  return std::ranges::all_of(sample.in, [](const Type& type) { return type.elements() <= 200; });
}

GraphPtr mlp_loss() {
  Builder b;
  const Id w1 = b.input(f64({3, 5})), b1 = b.input(f64({5})), w2 = b.input(f64({5, 2}));
  const Id x = b.input(f64({4, 3})), y = b.input(f64({4, 2}));
  const Id hidden = b.tanh(b.add(b.dot(x, w1), b1));
  const Id error = b.sub(b.dot(hidden, w2), y);
  return b.finish({b.mean_all(b.square(error)), hidden});
}

TEST_CASE("Both modes agree with each other to second order for every op") {
  int checked = 0;
  for (const OpDef* op : all_ops()) {
    for (const Sample& sample : op->samples()) {
      if (!is_differentiable(*op, sample) || !is_small(sample)) continue;
      CAPTURE(op->name);
      // Far from 0 exponentials have derivatives that no tolerance fits.
      const double low = std::max(sample.low, -3.0), high = std::min(sample.high, 3.0);
      check_derivatives(*graph_of(*op, sample), {low, high, false, 2});
      ++checked;
    }
  }
  CHECK(checked > 60);
}

TEST_CASE("jvp of vjp is vjp of vjp for every op") {
  for (const OpDef* op : all_ops()) {
    for (const Sample& sample : op->samples()) {
      if (!is_differentiable(*op, sample) || !is_small(sample)) continue;
      CAPTURE(op->name);
      // f(x) = sum of squares of y has a symmetric Hessian, so both routes give H v.
      Builder b;
      Ids in;
      for (const Type& type : sample.in) in.push_back(b.input(type));
      const Id y = b.emit(*op, in, sample.attrs);
      const Id f = b.sum_all(b.mul(y, y));
      const GraphPtr graph = b.finish({f});
      const Mask active = float_inputs(*graph);
      const VjpResult gradient = vjp(*graph, active, {true});
      if (gradient.graph->outputs.empty()) continue;
      Mask inputs = active;
      inputs.push_back(false);
      Rng rng(3, Purpose::check);
      Tensors x = draw_inputs(*graph, rng, std::max(sample.low, -3.0), std::min(sample.high, 3.0));
      x.push_back({1.0});
      // Along the inputs that have a gradient; the others are constants of f.
      Tensors v, direction;
      for (std::size_t i = 0; i < active.size(); ++i) {
        if (!active[i]) continue;
        v.push_back(draw(graph->type(graph->inputs[i]), rng));
        if (gradient.in_nonzero[i]) direction.push_back(v.back());
        if (!gradient.in_nonzero[i]) v.back().assign(v.back().size(), 0);
      }
      const Tensors forward = push(*gradient.graph, inputs, x, v);
      const Tensors all = pull(*gradient.graph, inputs, x, direction);
      Tensors reverse;
      std::size_t next = 0;
      for (std::size_t i = 0; i < active.size(); ++i) {
        if (!active[i]) continue;
        if (gradient.in_nonzero[i]) reverse.push_back(all[next]);
        ++next;
      }
      CHECK(distance(forward, reverse) < 1e-12);
    }
  }
}

TEST_CASE("A small network is differentiated right to third order") {
  check_derivatives(*mlp_loss(), {-1, 1, true, 3});
}

TEST_CASE("Only the partials that are asked for are built") {
  Builder b;
  const Id x = b.input(f64({4, 3})), w = b.input(f64({3, 5}));
  const GraphPtr graph = b.finish({b.dot(x, w)});
  CHECK(count_ops(*vjp(*graph, {false, true}, {true}).graph, op::k_dot) == 1);
  CHECK(count_ops(*vjp(*graph, {true, true}, {true}).graph, op::k_dot) == 2);
  const JvpResult forward = jvp(*graph, {false, true});
  CHECK(forward.graph->inputs.size() == 3);
  CHECK(count_ops(*forward.graph, op::k_dot) == 2);
}

TEST_CASE("Zeros stay symbolic: what does not depend on an input has no derivative") {
  Builder b;
  const Id x = b.input(f64({3})), y = b.input(f64({3})), i = b.input({DType::i32, {3}});
  const Id stopped = b.mul(b.stop_gradient(x), y);
  const GraphPtr graph = b.finish({b.exp(x), stopped, b.step(x), i});
  const JvpResult forward = jvp(*graph, {true, false, false});
  CHECK(forward.out_nonzero == Mask{true, false, false, false});
  const VjpResult backward = vjp(*graph, {true, true, false}, {false, true, true, false});
  CHECK(backward.in_nonzero == Mask{false, true, false});
  CHECK(reachable_outputs(*graph, {true, false, true}) == Mask{true, false, false, false});
  CHECK(reaching_inputs(*graph, {false, true, true, true}) == Mask{false, true, false});
  verify(*forward.graph);
  verify(*backward.graph);
  CHECK_THROWS_AS(jvp(*graph, {false, false, true}), InternalError);
  CHECK_THROWS_AS(vjp(*graph, {false, false, true}, {true, false, false, false}), InternalError);
}

TEST_CASE("Cotangents of repeated outputs are added, and primal outputs can be kept") {
  Builder b;
  const Id x = b.input(f64({}));
  const Id y = b.mul(x, 3.0);
  const GraphPtr graph = b.finish({y, y, x});
  const VjpResult result = vjp(*graph, {true}, {true, true, true}, true);
  const Tensors out = run(*result.graph, {{2}, {10}, {100}, {1000}});
  CHECK(out == Tensors{{6}, {6}, {2}, {1330}});
}

TEST_CASE("pullback inside a builder can stop at intermediate values and be repeated") {
  Builder b;
  const Id x = b.input(f64({}));
  const Id y = b.mul(x, x), z = b.mul(y, x);
  const Ids one{b.full_like(z, 1)};
  const Ids first = pullback(b, Ids{z}, one, Ids{x, y});
  const Ids second = pullback(b, Ids{first[0]}, one, Ids{x});
  const Ids none = pullback(b, Ids{z}, Ids{kNone}, Ids{x});
  CHECK(none == Ids{kNone});
  const GraphPtr graph = b.finish({first[0], first[1], second[0]});
  CHECK(run(*graph, {{2}}) == Tensors{{12}, {2}, {12}});
}

TEST_CASE("Derivatives say in their labels what they are derivatives of") {
  Builder b;
  const Id x = b.input(f64({2, 2}));
  b.set_label("layer");
  const GraphPtr graph = b.finish({b.dot(x, x)});
  const auto labels = [](const Graph& g) {
    std::vector<std::string> result;
    for (const Node& node : g.nodes) result.push_back(node.label);
    return result;
  };
  const auto has = [](const std::vector<std::string>& all, const std::string& label) {
    return std::ranges::find(all, label) != all.end();
  };
  CHECK(has(labels(*vjp(*graph, {true}, {true}).graph), "layer bar"));
  CHECK(has(labels(*jvp(*graph, {true}).graph), "layer dot"));
  CHECK(has(labels(*jvp(*graph, {true}).graph), "layer"));
}

TEST_CASE("The tangent of a named value has the same name") {
  Builder b;
  const Id x = b.input(f64({2}));
  const GraphPtr graph = b.finish({b.exp(b.named(b.square(x), "kept"))});
  const JvpResult result = jvp(*graph, {true});
  CHECK(count_ops(*result.graph, op::k_named) == 2);
  check_derivatives(*graph);
}

TEST_CASE("A cotangent may have a name") {
  Builder b;
  const Id x = b.input(f64({2}));
  const GraphPtr graph = b.finish({b.exp(b.named_cotangent(b.square(x), "bar"))});
  const VjpResult result = vjp(*graph, {true}, {true});
  REQUIRE(count_ops(*result.graph, op::k_named) == 1);
  const auto named = std::ranges::find(result.graph->nodes, &op::k_named, &Node::op);
  CHECK(named->attrs.name == "bar");
  // Forward over reverse: the tangent of the cotangent has the name too.
  CHECK(count_ops(*jvp(*result.graph, {true, true}).graph, op::k_named) == 2);
  check_derivatives(*graph);
}

// A random graph over every unary and binary op that is smooth on its inputs.
GraphPtr random_graph(std::uint64_t seed) {
  Rng rng(seed, Purpose::check);
  Builder b;
  std::vector<Id> values{b.input(f64({3, 2})), b.input(f64({3, 2})), b.input(f64({2})),
                         b.input(f64({2, 2}))};
  const auto pick_value = [&] { return values[rng.below(values.size())]; };
  for (int step = 0; step < 25; ++step) {
    const Id a = pick_value(), c = pick_value();
    switch (rng.below(10)) {
      case 0:
        values.push_back(b.tanh(a));
        break;
      case 1:
        values.push_back(b.sin(a));
        break;
      case 2:
        values.push_back(b.sigmoid(b.mul(a, 0.5)));
        break;
      case 3:
        values.push_back(b.softplus(a));
        break;
      case 4:
        values.push_back(b.rsqrt(b.add(b.square(a), 1.0)));
        break;
      case 5:
        values.push_back(b.sum(b.mul(a, 0.3), {0}));
        break;
      case 6:
        if (b.shape(a).size() == 2) values.push_back(b.logsumexp(a));
        break;
      case 7:
        if (b.shape(a).size() == 2 && b.shape(c).size() == 2 && b.shape(a)[1] == b.shape(c)[0]) {
          values.push_back(b.tanh(b.dot(a, c)));
        }
        break;
      case 8:
        if (b.shape(a) == b.shape(c)) values.push_back(b.mul(a, c));
        break;
      default:
        if (b.shape(a) == b.shape(c)) values.push_back(b.add(a, b.cos(c)));
        break;
    }
    if (b.shape(values.back()).empty()) values.pop_back();
  }
  Ids outputs(values.end() - 3, values.end());
  for (Id& id : outputs) id = b.tanh(id);
  return b.finish(outputs);
}

TEST_CASE("Random graphs are differentiated right to second order") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    CAPTURE(seed);
    check_derivatives(*random_graph(seed));
  }
}

}  // namespace
}  // namespace mixflow
