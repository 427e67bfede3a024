// The grad node: mixed mode against reverse mode, first order, and lowering.
#include <doctest/doctest.h>

#include <functional>

#include "ops/op_list.h"
#include "transform/check_derivatives.h"
#include "transform/reachable.h"

namespace mixflow {
namespace {

using namespace mixflow::testing;
using Keep = Policy::Keep;

constexpr std::int64_t kSteps = 3;

// Mean squared error of a network with one hidden layer; `log_weight` is a meta-parameter inside
// the loss. inputs: w1, b1, w2 | log_weight, x, y
GraphPtr inner_loss(bool named = false) {
  Builder b;
  const Id w1 = b.input(f64({2, 4})), b1 = b.input(f64({4})), w2 = b.input(f64({4, 1}));
  const Id log_weight = b.input(f64({5})), x = b.input(f64({5, 2})), y = b.input(f64({5, 1}));
  Id hidden = b.tanh(b.add(b.dot(x, w1), b1));
  if (named) hidden = b.named_cotangent(hidden, "hidden_bar");
  const Id error = b.reshape(b.square(b.sub(b.dot(hidden, w2), y)), {5});
  return b.finish({b.mean_all(b.mul(error, b.exp(log_weight)))});
}

// One parameter's new value and state, given its gradient.
using Update = std::function<Ids(Builder&, Id theta, const Ids& state, Id g, Id lr, Id scale)>;

Ids sgd(Builder& b, Id theta, const Ids&, Id g, Id lr, Id) { return {b.sub(theta, b.mul(lr, g))}; }

Ids momentum(Builder& b, Id theta, const Ids& state, Id g, Id lr, Id) {
  const Id v = b.add(b.mul(state[0], 0.9), g);
  return {b.sub(theta, b.mul(lr, v)), v};
}

Ids adam(Builder& b, Id theta, const Ids& state, Id g, Id lr, Id scale) {
  const Id m = b.add(b.mul(state[0], 0.9), b.mul(g, 0.1));
  const Id v = b.add(b.mul(state[1], 0.99), b.mul(b.square(g), 0.01));
  const Id root = b.sqrt(b.add(b.mul(v, scale), 1e-12));
  return {b.sub(theta, b.mul(lr, b.div(b.mul(m, scale), b.add(root, 1e-8)))), m, v};
}

struct Unroll {
  Update update;
  int states;
  GradMode mode = GradMode::mixed;
  Policy policy = {Keep::names, {"inner_grads"}};
  std::int64_t steps = kSteps;
  bool use_loss = false;  // add the sum of inner losses to the objective
  bool named = false;     // a cotangent of the inner loss has a name
};

// inputs: theta (3), lr, log_weight, x [steps, ..], y, x_val, y_val; output: loss after the unroll.
GraphPtr unrolled(const Unroll& u) {
  const std::vector<Type> thetas{f64({2, 4}), f64({4}), f64({4, 1})};
  const std::size_t states = static_cast<std::size_t>(u.states);
  Builder step;
  const Id lr = step.input(f64({})), log_weight = step.input(f64({5}));
  Ids theta;
  for (const Type& type : thetas) theta.push_back(step.input(type));
  std::vector<Ids> state(3);
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t s = 0; s < states; ++s) state[i].push_back(step.input(thetas[i]));
  }
  const Id x = step.input(f64({5, 2})), y = step.input(f64({5, 1})), scale = step.input(f64({}));
  const Builder::Grad grad = step.grad(inner_loss(u.named), theta, Ids{log_weight, x, y}, u.mode);
  Ids next, next_states;
  for (std::size_t i = 0; i < 3; ++i) {
    const Id g = step.named(grad.grads[i], "inner_grads");
    const Ids updated = u.update(step, theta[i], state[i], g, lr, scale);
    next.push_back(updated[0]);
    next_states.insert(next_states.end(), updated.begin() + 1, updated.end());
  }
  next.insert(next.end(), next_states.begin(), next_states.end());
  next.push_back(grad.loss);
  const GraphPtr body = step.finish(next);

  Builder b;
  Ids carry;
  for (const Type& type : thetas) carry.push_back(b.input(type));
  const Ids consts{b.input(f64({})), b.input(f64({5}))};
  for (const Type& type : thetas) {
    for (std::size_t s = 0; s < states; ++s) carry.push_back(b.full(0, DType::f64, type.shape));
  }
  const Id scales = b.add(b.iota(DType::f64, {u.steps}, 0), 1.0);
  const Ids xs{b.input(f64({u.steps, 5, 2})), b.input(f64({u.steps, 5, 1})), b.reciprocal(scales)};
  const Builder::Loop loop = b.scan(body, consts, carry, xs, u.steps, false, u.policy);
  Ids args(loop.carry.begin(), loop.carry.begin() + 3);
  args.push_back(b.full(0, DType::f64, {5}));
  args.push_back(b.input(f64({5, 2})));
  args.push_back(b.input(f64({5, 1})));
  Id outer = b.inline_graph(*inner_loss(), args)[0];
  if (u.use_loss) outer = b.add(outer, b.sum_all(loop.ys[0]));
  return b.finish({outer});
}

std::vector<Unroll> unrolls() { return {{sgd, 0}, {momentum, 1}, {adam, 2}}; }

Mask meta_parameters() { return {true, true, true, true, true, false, false, false, false}; }

// Meta-gradients with respect to theta_0, the learning rate and the loss weights.
Tensors meta_gradient(const Graph& graph, const Tensors& x) {
  const VjpResult result = vjp(graph, meta_parameters(), {true});
  CHECK(result.in_nonzero == meta_parameters());
  Tensors inputs = x;
  inputs.push_back({1.0});
  const GraphPtr lowered = lower_grad(*result.graph);
  CHECK(count_ops(*lowered, op::k_grad) == 0);
  return run(*lowered, inputs);
}

TEST_CASE("Mixed mode equals reverse mode for sgd, momentum and adam, whatever is kept") {
  for (Unroll u : unrolls()) {
    for (const bool use_loss : {false, true}) {
      CAPTURE(u.states);
      CAPTURE(use_loss);
      u.use_loss = use_loss;
      u.policy = {Keep::all, {}};
      const GraphPtr reference = lower_grad(*unrolled(u));
      Rng rng(9, Purpose::check);
      const Tensors x = draw_inputs(*reference, rng);
      const Tensors expected = meta_gradient(*reference, x);
      for (const Policy& policy : {Policy{Keep::carries, {}}, Policy{Keep::names, {"inner_grads"}},
                                   Policy{Keep::dots, {}}, Policy{}}) {
        u.policy = policy;
        const GraphPtr graph = unrolled(u);
        CHECK(distance(meta_gradient(*graph, x), expected) < 1e-12);
        CHECK(distance(meta_gradient(*lower_grad(*graph), x), expected) < 1e-12);
      }
    }
  }
}

TEST_CASE("Meta-gradients agree with central differences and with forward mode, to second order") {
  for (Unroll u : unrolls()) {
    CAPTURE(u.states);
    u.use_loss = true;
    // Adam's root amplifies the rounding of a difference quotient.
    check_derivatives(*lower_grad(*unrolled(u)), {-1, 1, u.states < 2, 1});
    check_derivatives(*unrolled(u), {-1, 1, u.states < 2, u.states < 2 ? 2 : 1});
  }
}

std::int64_t count_dots(const Graph& graph) { return count_ops(graph, op::k_dot); }

TEST_CASE("The second-order pass of mixed mode holds no primal weight gradient") {
  // Forward 2 dots, activations backward 1; tangents 4 (x has none, so 3), 2, and 4 for the weights
  // (x: 3).
  Unroll u = unrolls()[0];
  const VjpResult result = vjp(*unrolled(u), meta_parameters(), {true});
  const Node* backward = nullptr;
  for (const Node& node : result.graph->nodes) {
    if (node.op == &op::k_scan && region_of(node)->reverse) backward = &node;
  }
  REQUIRE(backward != nullptr);
  CHECK(count_ops(*region_of(*backward)->body, op::k_grad) == 0);
  CHECK(count_dots(*region_of(*backward)->body) == 2 + 1 + 3 + 2 + 3);
}

TEST_CASE("Keeping all, the second-order pass reuses what the gradient computed on its way") {
  // Its forward 2 dots and its activations' backward one come from the forward loop, which computes
  // no more than one gradient: 2 forward, 1 backward, 2 for the weights.
  Unroll u = unrolls()[0];
  u.policy = {Keep::all, {}};
  const VjpResult result = vjp(*unrolled(u), meta_parameters(), {true});
  const GraphPtr lowered = clean(*lower_grad(*result.graph));
  std::int64_t forward = 0, backward = 0;
  for (const Node& node : lowered->nodes) {
    if (node.op != &op::k_scan) continue;
    (region_of(node)->reverse ? backward : forward) += count_dots(*region_of(node)->body);
  }
  CHECK(forward == 2 + 1 + 2);
  CHECK(backward == 3 + 2 + 3);
}

TEST_CASE("A value that the gradient has by name is not computed again where it is kept") {
  for (Unroll u : unrolls()) {
    u.named = true;
    u.use_loss = true;
    const GraphPtr reference = lower_grad(*unrolled(u));
    Rng rng(9, Purpose::check);
    const Tensors x = draw_inputs(*reference, rng);
    const Tensors expected = meta_gradient(*reference, x);
    for (const bool kept : {false, true}) {
      CAPTURE(u.states);
      CAPTURE(kept);
      u.policy = {Keep::names, {"inner_grads"}};
      if (kept) u.policy.names.push_back("hidden_bar");
      const GraphPtr graph = unrolled(u);
      CHECK(distance(meta_gradient(*graph, x), expected) < 1e-12);
      // Of the second-order pass (see above) the activations' backward product.
      const VjpResult result = vjp(*graph, meta_parameters(), {true});
      const GraphPtr lowered = clean(*lower_grad(*result.graph));
      std::int64_t forward = 0, backward = 0;
      for (const Node& node : lowered->nodes) {
        if (node.op != &op::k_scan) continue;
        (region_of(node)->reverse ? backward : forward) += count_dots(*region_of(node)->body);
      }
      CHECK(forward == 2 + 1 + 2);
      CHECK(backward == 2 + (kept ? 0 : 1) + 3 + 2 + 3);
    }
  }
}

TEST_CASE("Saving the inner gradients keeps the backward loop from computing them again") {
  for (Unroll u : unrolls()) {
    if (u.states == 0) continue;
    CAPTURE(u.states);
    const auto grads_in_backward_loop = [&](Policy policy) {
      u.policy = std::move(policy);
      const VjpResult result = vjp(*unrolled(u), meta_parameters(), {true});
      for (const Node& node : result.graph->nodes) {
        if (node.op != &op::k_scan || !region_of(node)->reverse) continue;
        return count_ops(*region_of(node)->body, op::k_grad);
      }
      return std::int64_t{-1};
    };
    CHECK(grads_in_backward_loop({Keep::names, {"inner_grads"}}) == 0);
    CHECK(grads_in_backward_loop({Keep::carries, {}}) == 1);
  }
}

// Deep inner loss: theta' = theta - 0.1 dL/dtheta, L = mean square of h after three layers h <-
// tanh(h w), whose scan keeps what the policy says. inputs: w [3,4,4], h [5,4]; output: theta'.
GraphPtr deep_step(const Policy& policy) {
  Builder layer;
  const Id h = layer.input(f64({5, 4})), w = layer.input(f64({4, 4}));
  const GraphPtr body = layer.finish({layer.tanh(layer.dot(h, w))});
  Builder loss;
  const Ids layers{loss.input(f64({3, 4, 4}))}, first{loss.input(f64({5, 4}))};
  const Id last = loss.scan(body, {}, first, layers, 3, false, policy).carry[0];
  const GraphPtr inner = loss.finish({loss.mean_all(loss.square(last))});
  Builder b;
  const Id theta = b.input(f64({3, 4, 4})), x = b.input(f64({5, 4}));
  const Builder::Grad grad = b.grad(inner, Ids{theta}, Ids{x}, GradMode::mixed);
  return b.finish({b.sub(theta, b.mul(grad.grads[0], 0.1))});
}

TEST_CASE("What loops keep is one choice in gradients and another where they are differentiated") {
  const Policy reference_policy{Keep::all, {}};
  const GraphPtr reference = lower_grad(*deep_step(reference_policy));
  Rng rng(5, Purpose::check);
  const Tensors x = draw_inputs(*reference, rng);
  const Tensors y_bar{draw(f64({3, 4, 4}), rng)};
  const Tensors expected = pull(*reference, {true, true}, x, y_bar);
  // Products of the gradient itself, and of its derivative, which is all that a vjp of the grad
  // node holds.
  const auto first_order = [](const Policy& policy) {
    return count_dots(*clean(*lower_grad(*deep_step(policy))));
  };
  const auto second_order = [](const Policy& policy) {
    return count_dots(*clean(*vjp(*deep_step(policy), {true, true}, {true}).graph));
  };
  const Policy carries{Keep::carries, {}}, dots{Keep::dots, {}};
  CHECK(first_order(dots) < first_order(carries));
  CHECK(second_order(dots) < second_order(carries));
  for (const Policy& keep : {carries, dots}) {
    for (const Policy& differentiated : {carries, dots}) {
      Policy policy = keep;
      policy.differentiated = differentiated.keep;
      CHECK(first_order(policy) == first_order(keep));
      CHECK(second_order(policy) == second_order(differentiated));
      CHECK(distance(pull(*deep_step(policy), {true, true}, x, y_bar), expected) < 1e-12);
    }
  }
}

// Steps of deep_step, whose inner loops and whose own loop keep what the policies say.
GraphPtr deep_unroll(const Policy& layers, const Policy& steps) {
  Builder b;
  const Ids theta{b.input(f64({3, 4, 4}))}, xs{b.input(f64({2, 5, 4}))};
  Builder step;
  const Id now = step.input(f64({3, 4, 4})), x = step.input(f64({5, 4}));
  const GraphPtr body = step.finish(step.inline_graph(*deep_step(layers), Ids{now, x}));
  return b.finish({b.scan(body, {}, theta, xs, 2, false, steps).carry[0]});
}

TEST_CASE("Steps that keep products hand the loops of their gradients on to second order") {
  const Policy carries{Keep::carries, {}}, dots{Keep::dots, {}}, all{Keep::all, {}};
  const GraphPtr reference = lower_grad(*deep_unroll(all, carries));
  Rng rng(7, Purpose::check);
  const Tensors x = draw_inputs(*reference, rng);
  const Tensors y_bar{draw(f64({3, 4, 4}), rng)};
  const Tensors expected = pull(*reference, {true, true}, x, y_bar);
  // Per layer and step. Gradient: h w, delta w, h delta. Tangents: two for each of them, but for
  // the first, whose x has a tangent too where x is a variable: 3 + 6.
  const auto products = [&](const Policy& layers, const Policy& steps) {
    const GraphPtr graph = deep_unroll(layers, steps);
    CHECK(distance(pull(*graph, {true, true}, x, y_bar), expected) < 1e-12);
    const VjpResult result = vjp(*graph, {true, true}, {true});
    return count_dots(*clean(*lower_grad(*result.graph)));
  };
  CHECK(products(dots, dots) == 3 + 6);
  CHECK(products(dots, all) == 3 + 6);
  CHECK(products(all, dots) == 3 + 6);
  CHECK(products(dots, carries) > 3 + 6);
  // Layers that keep nothing are computed again, in the gradient and by both tangent loops.
  CHECK(products(carries, dots) > 3 + 6);
  Policy differentiated = carries;
  differentiated.differentiated = Keep::dots;
  CHECK(products(differentiated, dots) == 3 + 6);
}

TEST_CASE("A first-order gradient is a constant of the outer problem, its loss is not") {
  // theta' = theta - lr g with g constant: d theta' / d theta = 1.
  const auto step = [](GradMode mode, bool stop) {
    Builder loss;
    const Id w = loss.input(f64({3})), eta = loss.input(f64({3}));
    const GraphPtr body = loss.finish({loss.sum_all(loss.sin(loss.mul(w, eta)))});
    Builder b;
    const Id theta = b.input(f64({3})), rest = b.input(f64({3}));
    const Builder::Grad grad = b.grad(body, Ids{theta}, Ids{rest}, mode);
    const Id g = stop ? b.stop_gradient(grad.grads[0]) : grad.grads[0];
    return b.finish({b.sum_all(b.exp(b.sub(theta, b.mul(g, 0.1)))), grad.loss});
  };
  const GraphPtr constant = step(GradMode::first_order, false);
  const GraphPtr stopped = step(GradMode::mixed, true);
  Rng rng(2, Purpose::check);
  const Tensors x = draw_inputs(*constant, rng);
  const Tensors y_bar{{1.0}, {0.7}};
  const Tensors expected = pull(*lower_grad(*stopped), {true, true}, x, y_bar);
  CHECK(distance(pull(*constant, {true, true}, x, y_bar), expected) < 1e-14);
  CHECK(distance(pull(*lower_grad(*constant), {true, true}, x, y_bar), expected) < 1e-14);
  const Tensors direction{{1, 2, 3}, {-1, 0, 1}};
  CHECK(distance(push(*constant, {true, true}, x, direction),
                 push(*lower_grad(*stopped), {true, true}, x, direction)) < 1e-14);
  // To a second derivative the gradient is a constant, and dL/dtheta of the loss is none.
  const Mask all(4, true);
  const Tensors at{x[0], x[1], {1.0}, {0.7}}, bars{{1, -2, 3}, {0.5, 1, 2}};
  const auto gradient = [](const GraphPtr& graph) {
    return vjp(*graph, {true, true}, {true, true}).graph;
  };
  CHECK(distance(pull(*gradient(constant), all, at, bars),
                 pull(*gradient(lower_grad(*stopped)), all, at, bars)) < 1e-14);
  CHECK(reachable_outputs(*constant, {false, true}) == Mask{false, true});
  CHECK(reachable_outputs(*step(GradMode::mixed, false), {false, true}) == Mask{true, true});
}

TEST_CASE("A gradient inside the loss of another gradient is differentiated and lowered") {
  Builder innermost;
  const Id a = innermost.input(f64({2})), c = innermost.input(f64({2}));
  const GraphPtr first =
      innermost.finish({innermost.sum_all(innermost.sin(innermost.mul(innermost.square(a), c)))});
  Builder middle;
  const Id w = middle.input(f64({2})), eta = middle.input(f64({2}));
  const Builder::Grad inside = middle.grad(first, Ids{w}, Ids{eta}, GradMode::mixed);
  const Id moved = middle.sub(w, middle.mul(inside.grads[0], 0.1));
  const GraphPtr second = middle.finish({middle.sum_all(middle.exp(middle.mul(moved, eta)))});
  Builder b;
  const Id theta = b.input(f64({2})), rest = b.input(f64({2}));
  const Builder::Grad outer = b.grad(second, Ids{theta}, Ids{rest}, GradMode::mixed);
  const GraphPtr graph = b.finish({outer.loss, b.sub(theta, outer.grads[0])});
  const GraphPtr lowered = lower_grad(*graph);
  CHECK(count_ops(*lowered, op::k_grad) == 0);
  Rng rng(4, Purpose::check);
  const Tensors x = draw_inputs(*graph, rng);
  const Tensors y_bar{{1.0}, {0.3, -2.0}};
  CHECK(distance(pull(*graph, {true, true}, x, y_bar), pull(*lowered, {true, true}, x, y_bar)) <
        1e-12);
  check_derivatives(*graph, {-1, 1, true, 2});
}

TEST_CASE("The meta-gradient's size and the time to build it do not depend on the steps") {
  Unroll u = unrolls()[2];
  const auto size = [&](std::int64_t steps) {
    u.steps = steps;
    return count_nodes(*lower_grad(*vjp(*unrolled(u), meta_parameters(), {true}).graph));
  };
  CHECK(size(1) == size(1000));
}

}  // namespace
}  // namespace mixflow
