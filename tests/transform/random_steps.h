// Random loops whose bodies hold gradients of random losses, which may hold loops and gradients
// themselves. All values have one type, so that anything may be a parameter of a loss; losses are
// used again on other values, and stand beside their gradients.
#pragma once

#include <random>
#include <vector>

#include "ops/builder.h"
#include "ops/op_list.h"

namespace mixflow::testing {

class RandomSteps {
 public:
  explicit RandomSteps(unsigned seed) : random_(seed) {}

  // A scan of `n` steps that keeps what `policy` says; loops and gradients inside, `depth` deep.
  // The graph does not depend on the policy otherwise.
  GraphPtr make(std::int64_t n, const Policy& policy, int depth) {
    Builder b;
    Ids consts, carry, xs;
    for (int i = 0; i < 2; ++i) consts.push_back(b.input(kType));
    for (int i = 0; i < 3; ++i) carry.push_back(b.input(kType));
    for (int i = 0; i < 2; ++i) xs.push_back(b.input(stacked(kType, n)));
    const GraphPtr body = step(2, 3, 2, 3, depth);
    const Builder::Loop loop = b.scan(body, consts, carry, xs, n, coin(), policy);
    Ids outputs = loop.carry;
    outputs.insert(outputs.end(), loop.ys.begin(), loop.ys.end());
    return b.finish(outputs);
  }

  int below(int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random_); }
  bool coin() { return below(2) == 0; }

  // Any bits, three in four set.
  std::vector<bool> mask(std::size_t size) {
    std::vector<bool> bits(size);
    for (std::size_t i = 0; i < size; ++i) bits[i] = below(4) != 0;
    return bits;
  }

 private:
  static constexpr std::int64_t kSide = 2;
  inline static const Type kType{DType::f64, {kSide, kSide}};

  template <class T>
  const T& pick(const std::vector<T>& pool) {
    return pool[static_cast<std::size_t>(below(static_cast<int>(pool.size())))];
  }
  Ids pick(const Ids& pool, int count) {
    Ids picked;
    for (int i = 0; i < count; ++i) picked.push_back(pick(pool));
    return picked;
  }

  void grow(Builder& b, Ids& pool, int num_nodes, int depth) {
    for (int i = 0; i < num_nodes; ++i) {
      const int kind = below(depth > 0 ? 17 : 9);
      if (kind < 9) pool.push_back(primitive(b, kind, pick(pool), pick(pool)));
      if (kind == 9 || kind == 10) add_scan(b, pool, depth);
      if (kind == 11) add_map(b, pool, depth);
      if (kind > 11) add_grad(b, pool, depth);
    }
  }

  Id primitive(Builder& b, int kind, Id x, Id y) {
    switch (kind) {
      case 0:
        return b.tanh(b.dot(x, y));
      case 1:
        return b.mul(x, y);
      case 2:
        return b.sub(x, b.mul(y, 0.3));
      case 3:
        return b.named(b.sin(x), "s");
      case 4:
        return b.stop_gradient(x);
      case 5:
        return b.tanh(x);
      case 6:
        return b.full(0.25, DType::f64, kType.shape);
      case 7:
        return b.tanh(b.dot(b.named_cotangent(x, "c"), y));
      default:
        return b.tanh(b.add(x, y));
    }
  }

  // Now and then one whose gradient is a constant, a parameter or another input.
  GraphPtr loss(int num_inputs, int depth) {
    Builder b;
    Ids pool;
    for (int i = 0; i < num_inputs; ++i) pool.push_back(b.input(kType));
    switch (below(8)) {
      case 0:
        return b.finish({b.sum_all(b.mul(pool[0], 0.5))});
      case 1:
        return b.finish({b.sum_all(b.mul(b.square(pool[0]), 0.5))});
      case 2:
        return b.finish({b.sum_all(b.mul(pool[0], pool.back()))});
      default:
        break;
    }
    grow(b, pool, 5, depth);
    const Id squares = b.mean_all(b.square(pick(pool)));
    return b.finish({b.add(b.sum_all(b.sin(pool.back())), squares)});
  }

  void add_grad(Builder& b, Ids& pool, int depth) {
    const bool again = !losses_.empty() && coin();
    if (!again) losses_.push_back(loss(1 + below(4), depth - 1));
    const GraphPtr body = again ? pick(losses_) : losses_.back();
    const Ids args = pick(pool, static_cast<int>(body->inputs.size()));
    const std::size_t thetas = args.size() > 1 && coin() ? 2 : 1;
    const std::span<const Id> all(args);
    const GradMode mode = below(5) == 0 ? GradMode::first_order : GradMode::mixed;
    const Builder::Grad grad = b.grad(body, all.first(thetas), all.subspan(thetas), mode);
    pool.insert(pool.end(), grad.grads.begin(), grad.grads.end());
    pool.push_back(b.broadcast(grad.loss, {0, 1}, kType.shape));
    if (coin()) pool.push_back(b.broadcast(b.inline_graph(*body, args)[0], {0, 1}, kType.shape));
  }

  // A loop's body; some carries never change, others become any value.
  GraphPtr step(int num_consts, int num_carry, int num_xs, int num_ys, int depth) {
    Builder b;
    Ids pool;
    for (int i = 0; i < num_consts + num_carry + num_xs; ++i) pool.push_back(b.input(kType));
    const Ids carry(pool.begin() + num_consts, pool.begin() + num_consts + num_carry);
    if (depth > 0) add_grad(b, pool, depth);
    grow(b, pool, 7, depth);
    Ids outputs;
    for (const Id id : carry) {
      const int kind = below(6);
      const Id moved = kind < 2 ? kNone : b.tanh(b.sub(id, b.mul(pick(pool), pick(pool))));
      outputs.push_back(kind == 0 ? id : kind == 1 ? pick(pool) : moved);
    }
    for (int i = 0; i < num_ys; ++i) outputs.push_back(pick(pool));
    return b.finish(outputs);
  }

  void add_scan(Builder& b, Ids& pool, int depth) {
    const GraphPtr body = step(1, 2, 0, 1, depth - 1);
    const Builder::Loop loop =
        b.scan(body, pick(pool, 1), pick(pool, 2), {}, 2, coin(), any_policy());
    pool.insert(pool.end(), loop.carry.begin(), loop.carry.end());
    pool.push_back(b.sum(loop.ys[0], {0}));
  }

  void add_map(Builder& b, Ids& pool, int depth) {
    const GraphPtr body = step(2, 1, 0, 1, depth - 1);
    const Shape two = stacked(kType, 2).shape;
    const Id x = b.mul(b.broadcast(pick(pool), {0}, two), b.iota(DType::f64, two, 0));
    const Builder::Loop loop = b.map(body, pick(pool, 2), Ids{x}, 2, 1, any_policy());
    pool.push_back(loop.carry[0]);
    pool.push_back(b.sum(loop.ys[0], {0}));
  }

  Policy any_policy() {
    Policy policy{static_cast<Policy::Keep>(below(4)), {"s", "c"}};
    if (coin()) policy.differentiated = static_cast<Policy::Keep>(below(4));
    return policy;
  }

  std::mt19937 random_;
  std::vector<GraphPtr> losses_;
};

}  // namespace mixflow::testing
