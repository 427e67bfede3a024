// Loops that keep what the gradients in their bodies compute: the derivatives are those of reverse
// mode, whatever stands where in a body.
#include <doctest/doctest.h>

#include "../util/testing.h"
#include "ops/op_list.h"
#include "transform/check_derivatives.h"
#include "transform/random_steps.h"

namespace mixflow {
namespace {

using namespace mixflow::testing;
using Keep = Policy::Keep;

// The cotangents of pull, differentiated once more along cotangents drawn from `seed`.
Tensors pulled_twice(const Graph& graph, const Mask& active, const Mask& bars, Tensors x,
                     const Tensors& y_bar, unsigned seed) {
  const VjpResult result = vjp(graph, active, bars);
  append(x, y_bar);
  Rng rng(seed, Purpose::check, 1);
  Tensors cotangents;
  for (std::size_t i = 0; i < active.size(); ++i) {
    const Tensor64 bar = draw(graph.type(graph.inputs[i]), rng);
    if (result.in_nonzero[i]) cotangents.push_back(bar);
  }
  return pull(*result.graph, Mask(x.size(), true), x, cotangents);
}

TEST_CASE("Random steps with gradients in them have the derivatives of reverse mode") {
  std::int64_t grads = 0;
  for (unsigned seed = 0; seed < (kThorough ? 150u : 40u); ++seed) {
    CAPTURE(seed);
    RandomSteps choice(seed + 1000);
    const std::int64_t steps = 1 + choice.below(3);
    const int depth = 1 + choice.below(2);
    const auto made = [&](Keep keep) {
      return RandomSteps(seed).make(steps, {keep, {"s", "c"}}, depth);
    };
    const GraphPtr base = made(Keep::carries), reference = lower_grad(*base);
    grads += count_ops(*base, op::k_grad);
    const Mask active = choice.mask(base->inputs.size()), bars = choice.mask(base->outputs.size());
    Rng rng(seed, Purpose::check);
    const Tensors x = draw_inputs(*base, rng);
    Tensors y_bar;
    for (std::size_t j = 0; j < bars.size(); ++j) {
      if (bars[j]) y_bar.push_back(draw(base->type(base->outputs[j]), rng));
    }
    const Tensors once = pull(*reference, active, bars, x, y_bar);
    const Tensors twice = pulled_twice(*reference, active, bars, x, y_bar, seed);
    for (const Keep keep : {Keep::carries, Keep::names, Keep::dots, Keep::all}) {
      CAPTURE(static_cast<int>(keep));
      const GraphPtr graph = made(keep);
      CHECK(distance(pull(*graph, active, bars, x, y_bar), once) < 1e-10);
      CHECK(distance(pulled_twice(*graph, active, bars, x, y_bar, seed), twice) < 1e-9);
    }
  }
  CHECK(grads > (kThorough ? 500 : 120));
}

// Steps y += l (+ a function of dl/dw), l = sum exp(w^2) sum sin(e^2): both squares' cotangents
// have one name.
GraphPtr twice_named(Keep keep, std::int64_t rest, bool reads_gradient) {
  const Type theta_type = f64({2}), rest_type = f64({rest});
  Builder loss;
  const Id theta = loss.input(theta_type), rho = loss.input(rest_type);
  const Id a = loss.named_cotangent(loss.square(theta), "c");
  const Id c = loss.named_cotangent(loss.square(rho), "c");
  const GraphPtr l = loss.finish({loss.mul(loss.sum_all(loss.exp(a)), loss.sum_all(loss.sin(c)))});
  Builder step;
  const Id w = step.input(theta_type), e = step.input(rest_type), y = step.input(f64({}));
  const Builder::Grad grad = step.grad(l, Ids{w}, Ids{e}, GradMode::mixed);
  Id next = step.add(y, grad.loss);
  if (reads_gradient) next = step.add(next, step.sum_all(step.sin(grad.grads[0])));
  const GraphPtr body = step.finish({next});
  Builder b;
  const Ids consts{b.input(theta_type), b.input(rest_type)}, carry{b.input(f64({}))};
  return b.finish(b.scan(body, consts, carry, {}, 2, false, {keep, {"c"}}).carry);
}

TEST_CASE(
    "A name that calls another value in the gradient by other inputs is not mistaken for it") {
  for (const std::int64_t rest : {2, 3}) {
    for (const bool reads_gradient : {false, true}) {
      for (const bool theta_is_active : {false, true}) {
        CAPTURE(rest);
        CAPTURE(reads_gradient);
        CAPTURE(theta_is_active);
        const Mask active{theta_is_active, true, true};
        const auto pulled = [&](const GraphPtr& graph) {
          Rng rng(5, Purpose::check);
          return pull(*graph, active, {true}, draw_inputs(*graph, rng), {{1.0}});
        };
        const Tensors expected =
            pulled(lower_grad(*twice_named(Keep::carries, rest, reads_gradient)));
        for (const Keep keep : {Keep::names, Keep::dots})
          CHECK(distance(pulled(twice_named(keep, rest, reads_gradient)), expected) < 1e-12);
      }
    }
  }
}

TEST_CASE("A loss that holds a gradient may stand beside its own gradient") {
  // L(w, c) = sum exp(c (w - 0.1 dM/dw)), M(w, c) = sum sin(w^2 c): dM/dw is a node of the step and
  // of what the step keeps of dL/dw.
  Builder inside;
  const Id a = inside.input(f64({2})), c = inside.input(f64({2}));
  const GraphPtr m = inside.finish({inside.sum_all(inside.sin(inside.mul(inside.square(a), c)))});
  Builder loss;
  const Id w = loss.input(f64({2})), rate = loss.input(f64({2}));
  const Id g = loss.grad(m, Ids{w}, Ids{rate}, GradMode::mixed).grads[0];
  const Id moved = loss.sub(w, loss.mul(g, 0.1));
  const GraphPtr l = loss.finish({loss.sum_all(loss.exp(loss.mul(moved, rate)))});
  for (const bool value_first : {false, true}) {
    CAPTURE(value_first);
    Builder step;
    const Id eta = step.input(f64({2})), theta = step.input(f64({2}));
    Id value = value_first ? step.inline_graph(*l, Ids{theta, eta})[0] : kNone;
    const Id gradient = step.grad(l, Ids{theta}, Ids{eta}, GradMode::mixed).grads[0];
    if (!value_first) value = step.inline_graph(*l, Ids{theta, eta})[0];
    const Id rate_now = step.mul(step.tanh(value), 0.1);
    const GraphPtr body = step.finish({step.sub(theta, step.mul(gradient, rate_now))});
    const auto unrolled = [&](Keep keep) {
      Builder b;
      const Ids consts{b.input(f64({2}))}, carry{b.input(f64({2}))};
      return b.finish(b.scan(body, consts, carry, {}, 3, false, {keep, {}}).carry);
    };
    const GraphPtr reference = lower_grad(*unrolled(Keep::carries));
    Rng rng(6, Purpose::check);
    const Tensors x = draw_inputs(*reference, rng);
    const Tensors y_bar{{0.3, -2.0}};
    const Tensors expected = pull(*reference, {true, true}, x, y_bar);
    for (const Keep keep : {Keep::dots, Keep::all}) {
      CHECK(distance(pull(*unrolled(keep), {true, true}, x, y_bar), expected) < 1e-12);
    }
  }
}

}  // namespace
}  // namespace mixflow
