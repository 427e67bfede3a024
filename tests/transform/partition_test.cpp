#include "transform/partition.h"

#include <doctest/doctest.h>

namespace mixflow {
namespace {

using Keep = Policy::Keep;

// A joint body with a value of each kind. Backward outputs are made by the test.
struct Body {
  Builder b;
  Id w = b.input({DType::f32, {3}}), h = b.input({DType::f32, {3}});
  Id invariant = b.exp(w);
  Id product = b.mul(h, invariant);
  Id tanh = b.tanh(product);
  Id kept = b.named(tanh, "kept");
  Id again = b.named(kept, "again");
  Id mask = b.step(product);
  Id wide = b.broadcast(tanh, {0}, {2, 3});
  Id unread = b.sin(product);
  std::size_t forward_nodes = b.graph().nodes.size();
  Id bar = b.input({DType::f32, {3}});

  Ids choose(const Policy& policy, const Ids& outputs) const {
    const Ids consts{w};
    return partition({b.graph(), forward_nodes, consts, outputs}, policy);
  }
};

TEST_CASE("Nothing but the carries is kept under the policy of that name") {
  Body body;
  CHECK(body.choose({Keep::carries, {}}, {body.b.mul(body.bar, body.tanh)}).empty());
}

TEST_CASE("A named value is kept as what it names") {
  Body body;
  const Ids outputs{body.b.mul(body.bar, body.tanh)};
  CHECK(body.choose({Keep::names, {"kept"}}, outputs) == Ids{body.tanh});
  CHECK(body.choose({Keep::names, {"again"}}, outputs) == Ids{body.tanh});
  CHECK(body.choose({Keep::names, {"other"}}, outputs).empty());
}

TEST_CASE("Of all values those are kept that the backward pass reads") {
  Body body;
  const Id read = body.b.mul(body.bar, body.tanh);
  body.b.mul(body.bar, body.unread);  // dead
  CHECK(body.choose({}, {read}) == Ids{body.tanh});
  CHECK(body.choose({}, {body.b.mul(read, body.again)}) == Ids{body.tanh});
}

TEST_CASE("A value that costs nothing is recomputed from what it is made of") {
  Body body;
  const Id masked = body.b.mul(body.bar, body.mask);
  CHECK(body.choose({}, {masked}) == Ids{body.product});
  const Id summed = body.b.sum(body.b.mul(body.b.broadcast(body.bar, {0}, {2, 3}), body.wide), {0});
  CHECK(body.choose({}, {summed}) == Ids{body.tanh});
}

TEST_CASE("Of products and what is made of them, the products are kept") {
  Builder b;
  const Id h = b.input({DType::f32, {3, 3}});
  const Id product = b.dot(h, h);
  const Id shared = b.tanh(b.sum(product, {0}));
  const Id looked_up = b.gather(shared, b.input({DType::i32, {3}}));
  const Id wave = b.sin(looked_up);
  const std::size_t forward_nodes = b.graph().nodes.size();
  const Id bar = b.input({DType::f32, {3}});
  const Ids read{b.mul(bar, wave)}, both{b.mul(bar, b.mul(wave, shared))};
  const auto choose = [&](const Ids& outputs) {
    return partition({b.graph(), forward_nodes, {}, outputs}, {Keep::dots, {}});
  };
  CHECK(choose(read) == Ids{looked_up});
  CHECK(choose(both) == Ids{product, looked_up});
}

TEST_CASE("Neither inputs nor values that are equal in all iterations are kept") {
  Body body;
  const Id scaled = body.b.mul(body.bar, body.invariant);
  CHECK(body.choose({}, {scaled, body.b.mul(body.bar, body.h)}).empty());
}

}  // namespace
}  // namespace mixflow
