// Derivatives of loops as models use them: attention in blocks, indices, loops that share a body,
// repeated pullbacks.
#include <doctest/doctest.h>

#include <cmath>

#include "ops/op_list.h"
#include "transform/check_derivatives.h"

namespace mixflow {
namespace {

using namespace mixflow::testing;
using Keep = Policy::Keep;

constexpr std::int64_t kBlocks = 3, kRows = 2, kWidth = 4;

// One block of queries against all keys: a scan for the row maxima, then a map with numerator and
// denominator as sums.
GraphPtr attend_block() {
  const Type block = f64({kRows, kWidth});
  Builder max;
  {
    const Id q = max.input(block), m = max.input(f64({kRows})), k = max.input(block);
    const GraphPtr body = max.finish({max.max(m, max.max_reduce(max.dot(q, k, false, true), {1}))});
    Builder weigh;
    const Id wq = weigh.input(block), wm = weigh.input(f64({kRows}));
    const Id wk = weigh.input(block), wv = weigh.input(block);
    const Id shift = weigh.broadcast(wm, {1}, {kRows, kRows});
    const Id p = weigh.exp(weigh.sub(weigh.dot(wq, wk, false, true), shift));
    const GraphPtr each = weigh.finish({weigh.dot(p, wv), weigh.sum(p, {1})});
    Builder b;
    const Id keys = b.input(f64({kBlocks, kRows, kWidth}));
    const Id values = b.input(f64({kBlocks, kRows, kWidth})), queries = b.input(block);
    const Id lowest = b.full(-1e30, DType::f64, {kRows});
    const Builder::Loop m_loop = b.scan(body, Ids{queries}, Ids{lowest}, Ids{keys}, kBlocks);
    const Builder::Loop sums =
        b.map(each, Ids{queries, m_loop.carry[0]}, Ids{keys, values}, kBlocks, 2);
    const Id den = b.broadcast(sums.carry[1], {1}, {kRows, kWidth});
    return b.finish({b.div(sums.carry[0], den)});
  }
}

GraphPtr blocked_attention() {
  Builder b;
  const Type all = f64({kBlocks, kRows, kWidth});
  const Id q = b.input(all), k = b.input(all), v = b.input(all);
  return b.finish({b.map(attend_block(), Ids{k, v}, Ids{q}, kBlocks, 0).ys[0]});
}

GraphPtr plain_attention() {
  Builder b;
  const std::int64_t rows = kBlocks * kRows;
  const Type all = f64({kBlocks, kRows, kWidth});
  Ids in;
  for (int i = 0; i < 3; ++i) in.push_back(b.reshape(b.input(all), {rows, kWidth}));
  const Id scores = b.dot(in[0], in[1], false, true);
  const Id p = b.exp(b.sub(scores, b.broadcast(b.logsumexp(scores), {1}, {rows, rows})));
  return b.finish({b.reshape(b.dot(p, in[2]), all.shape)});
}

TEST_CASE("Attention in blocks has the derivatives of plain attention, to third order") {
  const GraphPtr blocked = blocked_attention(), plain = plain_attention();
  check_derivatives(*blocked, {-1, 1, true, 3});
  Rng rng(1, Purpose::check);
  const Tensors x = draw_inputs(*plain, rng);
  CHECK(distance(run(*blocked, x), run(*plain, x)) < 1e-13);
  const auto hessian_vector = [&](const Graph& graph) {
    const VjpResult gradient = vjp(graph, {true, true, true}, {true});
    Rng again(2, Purpose::check);
    Tensors at = x;
    at.push_back(draw(graph.type(graph.outputs[0]), again));
    Tensors along;
    for (int i = 0; i < 3; ++i) along.push_back(draw(graph.type(graph.inputs[0]), again));
    return push(*gradient.graph, {true, true, true, false}, at, along);
  };
  CHECK(distance(hessian_vector(*blocked), hessian_vector(*plain)) < 1e-12);
}

TEST_CASE("No derivative of blocked attention has a buffer of queries by keys") {
  const GraphPtr graph = blocked_attention();
  const VjpResult gradient = vjp(*graph, {true, true, true}, {true});
  const JvpResult second = jvp(*gradient.graph, {true, true, true, false});
  for (const Value& value : second.graph->values) {
    CHECK(value.type.elements() <= kBlocks * kRows * kWidth);
  }
}

// A table read at an index that counts up in a carry, and at one that comes with the xs.
GraphPtr reader(Policy policy) {
  Builder body;
  const Id table = body.input(f64({7, 3})), h = body.input(f64({3}));
  const Id count = body.input({DType::i32, {}}), index = body.input({DType::i32, {2}});
  const Id row = body.gather(table, count);
  const Id rows = body.gather(table, index);
  const Id next = body.tanh(body.add(body.mul(h, row), body.sum(body.square(rows), {0})));
  const GraphPtr step = body.finish({next, body.add(count, body.full_like(count, 1)), count});
  Builder b;
  const Id all = b.input(f64({7, 3})), start = b.input(f64({3}));
  const Id zero = b.full(0, DType::i32);
  const Builder::Loop loop = b.scan(step, Ids{all}, Ids{start, zero},
                                    Ids{b.iota(DType::i32, {5, 2}, 0)}, 5, false, policy);
  return b.finish({loop.carry[0], loop.carry[1]});
}

TEST_CASE("Indices in carries and xs have no derivative and are kept where they are read") {
  for (const Keep keep : {Keep::carries, Keep::all}) {
    check_derivatives(*reader({keep, {}}), {-1, 1, true, 2});
  }
}

TEST_CASE("Loops that share a body share its derivatives") {
  Builder body;
  const Id w = body.input(f64({3})), h = body.input(f64({3}));
  auto region = std::make_shared<Region>();
  region->body = body.finish({body.sin(body.mul(h, w))});
  region->n = 4;
  region->num_consts = region->num_carry = 1;
  Builder b;
  const Id first = b.input(f64({3})), second = b.input(f64({3})), start = b.input(f64({3}));
  const Id middle = b.emit_region(op::k_scan, Ids{first, start}, region)[0];
  const GraphPtr graph = b.finish({b.emit_region(op::k_scan, Ids{second, middle}, region)[0]});
  const auto regions = [](const Graph& g) {
    std::vector<const Region*> all;
    for (const Node& node : g.nodes) {
      const Region* own = region_of(node);
      if (own != nullptr && std::ranges::find(all, own) == all.end()) all.push_back(own);
    }
    return all.size();
  };
  CHECK(regions(*jvp(*graph, {true, true, true}).graph) == 1);
  CHECK(regions(*vjp(*graph, {true, true, true}, {true}).graph) == 2);
  check_derivatives(*graph, {-1, 1, true, 3});
}

TEST_CASE("A scan can be pulled back again in the builder where it was extended") {
  const auto build = [](bool nested) {
    Builder body;
    const Id w = body.input(f64({3})), h = body.input(f64({3}));
    const GraphPtr step = body.finish({body.sin(body.mul(h, w))});
    Builder b;
    const Ids in{b.input(f64({3})), b.input(f64({3}))};
    const auto loss = [&](Builder& to, const Ids& args) {
      return to.sum_all(to.scan(step, Ids{args[0]}, Ids{args[1]}, {}, 4).carry[0]);
    };
    Ids gradient;
    if (nested) {
      Builder inside;
      const Ids args{inside.input(f64({3})), inside.input(f64({3}))};
      const GraphPtr graph = inside.finish({loss(inside, args)});
      Ids with_seed = in;
      with_seed.push_back(b.full(1, DType::f64));
      gradient = b.inline_graph(*vjp(*graph, {true, true}, {true}).graph, with_seed);
    } else {
      const Id y = loss(b, in);
      gradient = pullback(b, Ids{y}, Ids{b.full_like(y, 1)}, in);
    }
    const Id f = b.add(b.sum_all(b.square(gradient[0])), b.sum_all(b.exp(gradient[1])));
    return b.finish(pullback(b, Ids{f}, Ids{b.full_like(f, 1)}, in));
  };
  const GraphPtr twice = build(false), nested = build(true);
  Rng rng(6, Purpose::check);
  const Tensors x = draw_inputs(*twice, rng);
  CHECK(distance(run(*twice, x), run(*nested, x)) < 1e-13);
  check_derivatives(*twice, {-1, 1, true, 1});
}

}  // namespace
}  // namespace mixflow
