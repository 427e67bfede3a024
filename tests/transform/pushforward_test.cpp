// Tangents beside primal values, loops apart: equal to jvp, and no primal value computed twice.
#include <doctest/doctest.h>

#include "ops/op_list.h"
#include "transform/check_derivatives.h"
#include "transform/random_graph.h"
#include "transform/rebuild.h"

namespace mixflow {
namespace {

using namespace mixflow::testing;
using Keep = Policy::Keep;

// Like jvp's graph, by pushforward: inputs x | x dot, outputs y | y dot of those in `mask`.
GraphPtr pushed(const Graph& graph, const Mask& nonzero, const Mask& mask) {
  Builder b;
  Ids in, dots;
  for (const Id id : graph.inputs) in.push_back(b.input(graph.type(id)));
  for (std::size_t i = 0; i < in.size(); ++i) {
    dots.push_back(nonzero[i] ? b.input(b.type(in[i])) : kNone);
  }
  Ids outputs = b.inline_graph(graph, in);
  const Ids tangents = pushforward(b, graph, in, dots);
  for (std::size_t j = 0; j < mask.size(); ++j) {
    if (!mask[j]) continue;
    outputs.push_back(tangents[j] != kNone ? tangents[j] : b.zeros_like(outputs[j]));
  }
  return dce(*b.finish(outputs));
}

// The graph whose loops, at any depth, have this policy.
GraphPtr with_policy(const Graph& graph, const Policy& policy) {
  RegionCache regions;
  return rebuild(graph, [&](Builder& b, const Node& node, std::span<const Id> in) {
    if (!node.attrs.region) return Ids{b.emit(*node.op, in, node.attrs)};
    return b.emit_region(*node.op, in, regions.get(node.attrs.region, [&] {
      auto changed = std::make_shared<Region>(*node.attrs.region);
      changed->body = with_policy(*changed->body, policy);
      changed->policy = policy;
      return changed;
    }));
  });
}

TEST_CASE("Tangents beside primal values are those of jvp, on any graph, whatever loops keep") {
  int tangents = 0;
  for (unsigned seed = 0; seed < 120; ++seed) {
    CAPTURE(seed);
    RandomGraph random(seed, 3, seed % 2 == 1);
    const GraphPtr made = random.make();
    const Policy policy{static_cast<Keep>(seed / 2 % 4), {"s"}};
    const GraphPtr graph = with_policy(*made, policy);
    Mask nonzero;
    for (std::size_t i = 0; i < graph->inputs.size(); ++i) nonzero.push_back(random.below(4) != 0);
    const JvpResult joint = jvp(*graph, nonzero);
    const GraphPtr apart = pushed(*graph, nonzero, joint.out_nonzero);
    Rng rng(seed, Purpose::check);
    const Tensors x = draw_inputs(*joint.graph, rng);
    CHECK(distance(run(*apart, x), run(*joint.graph, x)) < 1e-12);
    for (const bool out : joint.out_nonzero) tangents += out;
  }
  CHECK(tangents > 300);
}

TEST_CASE("What has tangents apart can be differentiated further") {
  int compared = 0;
  for (unsigned seed = 200; seed < 230; ++seed) {
    CAPTURE(seed);
    RandomGraph random(seed);
    const GraphPtr graph = with_policy(*random.make(3, 9, 2), {static_cast<Keep>(seed % 4), {"s"}});
    const Mask all(graph->inputs.size(), true);
    const JvpResult joint = jvp(*graph, all);
    const GraphPtr apart = pushed(*graph, all, joint.out_nonzero);
    Rng rng(seed, Purpose::check);
    const Tensors x = draw_inputs(*apart, rng);
    Tensors y_bar;
    for (const Id id : apart->outputs) y_bar.push_back(draw(apart->type(id), rng));
    const Mask active(apart->inputs.size(), true);
    CHECK(distance(pull(*apart, active, x, y_bar), pull(*joint.graph, active, x, y_bar)) < 1e-11);
    ++compared;
  }
  CHECK(compared == 30);
}

// h <- tanh(h w), three times, then a map over rows: y = sin(row v).
GraphPtr network(const Policy& policy) {
  Builder layer;
  const Id h = layer.input(f64({5, 4})), w = layer.input(f64({4, 4}));
  const GraphPtr body = layer.finish({layer.tanh(layer.dot(h, w))});
  Builder row;
  const Id v = row.input(f64({4, 4})), x = row.input(f64({1, 4}));
  const GraphPtr each = row.finish({row.sin(row.dot(x, v))});
  Builder b;
  const Id first = b.input(f64({5, 4})), weights = b.input(f64({3, 4, 4})),
           last = b.input(f64({4, 4}));
  const Id hidden = b.scan(body, {}, Ids{first}, Ids{weights}, 3, false, policy).carry[0];
  const Ids rows{b.reshape(hidden, {5, 1, 4})};
  return b.finish({b.map(each, Ids{last}, rows, 5, 0, policy).ys[0]});
}

TEST_CASE("A tangent loop does no product of its loop again where that keeps products") {
  // Of the loops: h w, x v. Of the tangents: h' w + h w', x' v + x v'. Keeping carries alone, those
  // of the tangents do h w and x v again, for the derivatives of tanh and sin.
  const auto products = [](const Policy& policy) {
    const GraphPtr graph = pushed(*network(policy), {true, true, true}, {true});
    CHECK(count_ops(*graph, op::k_scan) == 2);
    CHECK(count_ops(*graph, op::k_map) == 2);
    return count_ops(*graph, op::k_dot);
  };
  CHECK(products({Keep::dots, {}}) == 2 + 4);
  CHECK(products({Keep::all, {}}) == 2 + 4);
  CHECK(products({Keep::carries, {}}) == 2 + 4 + 2);
}

TEST_CASE("Tangent loops run the way their loops do, once, and leave out what has no tangent") {
  Builder layer;
  const Id h = layer.input(f64({4})), count = layer.input(f64({})), w = layer.input(f64({4}));
  const GraphPtr body =
      layer.finish({layer.mul(h, w), layer.add(count, 1.0), layer.mul(layer.square(w), 2.0)});
  for (const bool reverse : {false, true}) {
    Builder b;
    const Ids carry{b.input(f64({4})), b.full(0, DType::f64)};
    const Ids xs{b.input(f64({3, 4}))};
    const Builder::Loop loop = b.scan(body, {}, carry, xs, 3, reverse);
    const GraphPtr graph = b.finish({loop.carry[0], loop.carry[1], loop.ys[0]});
    // Of the carries alone: the stack has no tangent, and the count never has.
    const GraphPtr of_carry = pushed(*graph, {true, false}, {true, false, false});
    std::vector<const Region*> loops;
    for (const Node& node : of_carry->nodes) {
      if (node.op == &op::k_scan) loops.push_back(node.attrs.region.get());
    }
    REQUIRE(loops.size() == 2);
    CHECK(loops[1]->reverse == reverse);
    CHECK(loops[1]->num_carry == 1);
    CHECK(loops[1]->body->outputs.size() == 1);
    const JvpResult joint = jvp(*graph, {true, true});
    Rng rng(3, Purpose::check);
    const Tensors x = draw_inputs(*joint.graph, rng);
    CHECK(distance(run(*pushed(*graph, {true, true}, joint.out_nonzero), x), run(*joint.graph, x)) <
          1e-14);
  }
}

}  // namespace
}  // namespace mixflow
