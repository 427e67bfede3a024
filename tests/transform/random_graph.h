// Random closed graphs in f64 with loops in loops, for properties that hold on every graph. Values
// stay in [-1, 1] or close, so that chains of products neither overflow nor die out.
#pragma once

#include <random>
#include <vector>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "ops/reference.h"

namespace mixflow::testing {

inline const Type kRow{DType::f64, {3}};

class RandomGraph {
 public:
  // Trip count `n` of every loop; with `stacks` scans also return carries as they find them, pass
  // carries on to each other, and start several carries from one value.
  explicit RandomGraph(unsigned seed, std::int64_t n = 3, bool stacks = false)
      : random_(seed), n_(n), stacks_(stacks) {}

  GraphPtr make(int num_inputs = 4, int num_nodes = 14, int depth = 2) {
    Builder b;
    Ids pool;
    for (int i = 0; i < num_inputs; ++i) pool.push_back(b.input(any_type()));
    grow(b, pool, num_nodes, depth);
    Ids outputs;
    for (int i = 0; i < 4; ++i) outputs.push_back(pick(pool));
    outputs.push_back(pool.back());
    return b.finish(outputs);
  }

  std::vector<Tensor64> inputs_for(const Graph& graph) {
    std::vector<Tensor64> inputs;
    for (Id id : graph.inputs) inputs.push_back(tensor(graph.type(id).elements()));
    return inputs;
  }

  Tensor64 tensor(std::int64_t elements) {
    Tensor64 values(static_cast<std::size_t>(elements));
    for (double& value : values) value = std::uniform_real_distribution<double>(-1, 1)(random_);
    return values;
  }

  int below(int limit) { return std::uniform_int_distribution<int>(0, limit - 1)(random_); }
  bool coin() { return below(2) == 0; }

 private:
  Type any_type() {
    const Shape shapes[] = {{}, {n_}, {2, n_}, {n_, n_}, {n_, 2, n_}};
    return {DType::f64, shapes[below(5)]};
  }

  Id pick(const Ids& pool) {
    return pool[static_cast<std::size_t>(below(static_cast<int>(pool.size())))];
  }

  // A value of this type, made if the pool has none.
  Id pick(Builder& b, const Ids& pool, const Type& type) {
    Ids fitting;
    for (Id id : pool) {
      if (b.type(id) == type) fitting.push_back(id);
    }
    if (!fitting.empty() && below(8) != 0) return pick(fitting);
    return b.full(below(3) * 0.5, type.dtype, type.shape);
  }

  void grow(Builder& b, Ids& pool, int num_nodes, int depth) {
    for (int i = 0; i < num_nodes; ++i) {
      const int kind = below(depth > 0 ? 12 : 9);
      const Id x = pick(pool);
      const Shape shape = b.shape(x);
      const auto rank = static_cast<int>(shape.size());
      if (kind <= 1) {
        pool.push_back(unary(b, x));
      } else if (kind <= 4) {
        const Id y = pick(b, pool, b.type(x));
        const Id product = b.mul(x, y);
        pool.push_back(kind == 2 ? product : kind == 3 ? b.tanh(b.add(x, y)) : b.sub(product, y));
      } else if (kind == 5 && rank > 0) {
        pool.push_back(coin() ? b.mean(x, {below(rank)}) : b.logsumexp(x));
      } else if (kind == 6 && rank == 2) {
        pool.push_back(b.tanh(coin() ? b.dot(x, x, false, true) : b.dot(x, x, true)));
      } else if (kind == 7 && rank >= 2) {
        Shape axes = rank == 2 ? Shape{1, 0} : Shape{2, 0, 1};
        pool.push_back(coin() ? b.transpose(x, std::move(axes)) : b.reverse(x, {below(rank)}));
      } else if (kind == 8) {
        pool.push_back(b.broadcast(x, {0}, stacked(b.type(x), n_).shape));
        if (rank >= 2) pool.pop_back();  // three axes are enough
      } else if (kind == 9) {
        add_map(b, pool, depth);
      } else if (kind > 9) {
        add_scan(b, pool, depth);
      }
    }
  }

  Id unary(Builder& b, Id x) {
    switch (below(5)) {
      case 0:
        return b.tanh(x);
      case 1:
        return b.sin(x);
      case 2:
        return b.neg(x);
      case 3:
        return b.named(b.sigmoid(x), "s");
      default:
        return b.mul(x, below(3) - 1.0);
    }
  }

  Ids some(const Ids& pool, int at_most) {
    Ids chosen;
    for (int count = below(at_most + 1); count > 0; --count) chosen.push_back(pick(pool));
    return chosen;
  }

  Ids some_xs(const Builder& b, const Ids& pool) {
    Ids stacks;
    for (Id id : pool) {
      if (!b.shape(id).empty() && b.shape(id)[0] == n_) stacks.push_back(id);
    }
    return stacks.empty() ? Ids{} : some(stacks, 3);
  }

  void add_scan(Builder& b, Ids& pool, int depth) {
    const Ids consts = some(pool, 3);
    Ids carry = some(pool, 2);
    carry.push_back(pick(pool));
    if (stacks_ && coin()) carry.push_back(carry[0]);
    const Ids xs = some_xs(b, pool);
    Builder body;
    Ids inside;
    for (Id id : consts) inside.push_back(body.input(b.type(id)));
    for (Id id : carry) inside.push_back(body.input(b.type(id)));
    for (Id id : xs) inside.push_back(body.input(sliced(b.type(id))));
    grow(body, inside, 6, depth - 1);
    Ids outputs;
    for (Id id : carry) outputs.push_back(pick(body, inside, b.type(id)));
    if (stacks_) shuffle_carries(b, body, carry, consts.size(), outputs);
    for (Id id : some_ys(body, inside)) outputs.push_back(id);
    const Builder::Loop loop =
        b.scan(body.finish(outputs), consts, carry, xs, n_, coin(), Policy{});
    pool.insert(pool.end(), loop.carry.begin(), loop.carry.end());
    pool.insert(pool.end(), loop.ys.begin(), loop.ys.end());
  }

  // Now and then a carry is passed on as it is, to itself or to another of its type; now and then a
  // carry is returned as the iteration finds it.
  void shuffle_carries(const Builder& b, const Builder& body, const Ids& carry, std::size_t first,
                       Ids& outputs) {
    const Ids& in = body.graph().inputs;
    for (std::size_t k = 0; k < carry.size(); ++k) {
      const auto other = static_cast<std::size_t>(below(static_cast<int>(carry.size())));
      if (b.type(carry[other]) == b.type(carry[k]) && below(4) == 0) outputs[k] = in[first + other];
    }
    for (std::size_t k = 0; k < carry.size(); ++k) {
      if (b.shape(carry[k]).size() < 3 && coin()) outputs.push_back(in[first + k]);
    }
  }

  void add_map(Builder& b, Ids& pool, int depth) {
    const Ids consts = some(pool, 3);
    const Ids xs = some_xs(b, pool);
    if (consts.empty() && xs.empty()) return;
    Builder body;
    Ids inside;
    for (Id id : consts) inside.push_back(body.input(b.type(id)));
    for (Id id : xs) inside.push_back(body.input(sliced(b.type(id))));
    grow(body, inside, 6, depth - 1);
    Ids outputs = some(inside, 2);
    const int sums = static_cast<int>(outputs.size());
    for (Id id : some_ys(body, inside)) outputs.push_back(id);
    if (outputs.empty()) return;
    const Builder::Loop loop = b.map(body.finish(outputs), consts, xs, n_, sums);
    pool.insert(pool.end(), loop.carry.begin(), loop.carry.end());
    pool.insert(pool.end(), loop.ys.begin(), loop.ys.end());
  }

  // Three axes are enough: nothing of rank 3 is stacked.
  Ids some_ys(const Builder& b, const Ids& pool) {
    Ids small;
    for (Id id : pool) {
      if (b.shape(id).size() < 3) small.push_back(id);
    }
    return small.empty() ? Ids{} : some(small, 3);
  }

  std::mt19937 random_;
  const std::int64_t n_;
  const bool stacks_;
};

}  // namespace mixflow::testing
