// Loops at the edges of the planner's rules: one graph per case, run in every way (exec/run.h),
// with its derivatives, for every short trip count and both directions.
#include <doctest/doctest.h>

#include <functional>
#include <initializer_list>

#include "../util/testing.h"
#include "exec/run.h"
#include "graph/verify.h"
#include "ops/op_list.h"

namespace mixflow {
namespace {

using testing::all_float_inputs;
using testing::check_runs;

using Loop = Builder::Loop;
using List = std::vector<Id>;

const Type kVector{DType::f64, {3}};
const Type kMatrix{DType::f64, {3, 3}};

Mask all(const std::vector<Id>& ids) { return Mask(ids.size(), true); }

// A graph, its gradient, the gradient's derivative and the gradient's gradient.
void check_orders(const GraphPtr& graph) {
  verify(*graph);
  check_runs(graph);
  const GraphPtr pulled = vjp(*graph, all_float_inputs(*graph), all(graph->outputs), true).graph;
  check_runs(pulled);
  check_runs(jvp(*pulled, all_float_inputs(*pulled)).graph);
  check_runs(vjp(*pulled, all_float_inputs(*pulled), all(pulled->outputs)).graph);
}

// n iterations, forward and backward, keeping everything or only the carries.
void check_loops(const std::function<GraphPtr(std::int64_t n, bool reverse, Policy policy)>& make) {
  for (const std::int64_t n : {1, 2, 3}) {
    for (const bool reverse : {false, true}) {
      const bool carries = (n % 2 == 1) == reverse;
      CAPTURE(n);
      CAPTURE(reverse);
      check_orders(make(n, reverse, {carries ? Policy::Keep::carries : Policy::Keep::all, {}}));
    }
  }
}

GraphPtr body_of(std::initializer_list<Type> inputs,
                 const std::function<Ids(Builder&, const List&)>& make) {
  Builder b;
  List in;
  for (const Type& type : inputs) in.push_back(b.input(type));
  return b.finish(make(b, in));
}

TEST_CASE("Saved carries start at the init, whoever else reads it, and feed several loops") {
  check_loops([](std::int64_t n, bool reverse, const Policy& policy) {
    const GraphPtr keep = body_of({kMatrix, kVector, kVector}, [](Builder& b, const List& in) {
      const Id next = b.tanh(b.add(b.reshape(b.dot(in[0], b.reshape(in[1], {3, 1})), {3}), in[2]));
      return Ids{next, in[1]};
    });
    const GraphPtr use = body_of({kVector, kVector}, [](Builder& b, const List& in) {
      const Id next = b.mul(b.reverse(in[1], {0}), b.sin(in[0]));
      return Ids{next, b.mul(next, in[1])};
    });
    Builder b;
    const Id w = b.input(kMatrix), x = b.input(stacked(kVector, n)), c = b.input(kVector);
    const Id init = b.tanh(c);
    const Loop kept = b.scan(keep, List{w}, List{init}, List{x}, n, reverse, policy);
    const Loop back = b.scan(use, {}, List{init}, List{kept.ys[0]}, n, !reverse, policy);
    const Loop again = b.scan(use, {}, List{back.carry[0]}, List{kept.ys[0]}, n, reverse, policy);
    return b.finish({kept.carry[0], again.carry[0], again.ys[0], b.sum_all(init)});
  });
}

TEST_CASE("A carry's dead end is not stored, and slots move to the next carry") {
  check_loops([](std::int64_t n, bool reverse, const Policy& policy) {
    const GraphPtr keep = body_of({kVector, kVector}, [](Builder& b, const List& in) {
      return Ids{b.sin(b.add(in[0], in[1])), in[0], b.mul(in[0], in[1])};
    });
    // The carry is dead at the end; its successor is made of the slice it takes.
    const GraphPtr move = body_of({kVector, kVector, kVector}, [](Builder& b, const List& in) {
      const Id next = b.tanh(b.mul(b.add(in[0], in[1]), in[2]));
      return Ids{next, b.sub(b.reverse(in[0], {0}), in[2])};
    });
    Builder b;
    const Id x = b.input(stacked(kVector, n)), c = b.input(kVector);
    const Loop kept = b.scan(keep, {}, List{c}, List{b.sin(x)}, n, reverse, policy);
    const Loop moved =
        b.scan(move, {}, List{b.full(0, DType::f64, {3})}, kept.ys, n, !reverse, policy);
    return b.finish({moved.ys[0]});
  });
}

// Of the carries of a program's loops, those that move along a stack and whose final value is read.
int kept_where_they_end(const GraphPtr& graph) {
  const ProgramPtr program = compile(graph, {}, {.threads = 1});
  int count = 0;
  for (const Instr& instr : program->body->instrs) {
    if (!instr.loop) continue;
    const Node& node = program->graph->nodes[static_cast<std::size_t>(instr.node)];
    for (std::size_t k = 0; k < instr.loop->carries.size(); ++k) {
      const Place& final = program->body->places[static_cast<std::size_t>(node.out[k])];
      count +=
          instr.loop->carries[k].kind == CarryPlan::Kind::moving && final.kind != Place::Kind::none;
    }
  }
  return count;
}

TEST_CASE("A final value that is read stays at the edge, unless the edge is read elsewhere too") {
  enum class Edge { own, read_later, constant, input };
  const GraphPtr keep = body_of({kVector, kVector}, [](Builder& b, const List& in) {
    return Ids{b.tanh(b.add(in[0], in[1])), in[0]};
  });
  const GraphPtr pull = body_of({kVector, kVector, kVector}, [](Builder& b, const List& in) {
    return Ids{b.mul(b.sin(b.add(in[1], in[2])), in[0])};
  });
  for (const Edge edge : {Edge::own, Edge::read_later, Edge::constant, Edge::input}) {
    check_loops([&](std::int64_t n, bool reverse, const Policy& policy) {
      Builder b;
      const Id c = b.input(kVector), w = b.input(kVector);
      const Id x = b.input(stacked(kVector, 2)), y = b.input(stacked(kVector, n));
      const Loop first = b.scan(keep, {}, List{b.tanh(c)}, List{x}, 2, reverse, policy);
      const Id middle = edge == Edge::input ? w : first.carry[0];
      const Loop second = b.scan(keep, {}, List{middle}, List{y}, n, reverse, policy);
      const Id zeros = b.full(0, DType::f64, {3});
      const Loop pulled = b.scan(pull, List{edge == Edge::constant ? middle : c}, List{zeros},
                                 second.ys, n, !reverse, policy);
      const Loop all = b.scan(pull, List{w}, List{pulled.carry[0]}, first.ys, 2, !reverse, policy);
      const Id result =
          edge == Edge::read_later ? b.mul(all.carry[0], middle) : b.tanh(all.carry[0]);
      const GraphPtr graph = b.finish({result, second.carry[0]});
      CHECK(kept_where_they_end(graph) == (edge == Edge::own ? 1 : 0));
      return graph;
    });
  }
}

TEST_CASE("A final value that is read stays in the only slot of a stack") {
  const GraphPtr body = body_of({kVector, kVector}, [](Builder& b, const List& in) {
    return Ids{b.cos(b.add(in[0], in[1]))};
  });
  Builder b;
  const Id x = b.input(stacked(kVector, 1)), c = b.input(kVector);
  const Loop loop = b.scan(body, {}, List{b.full(0, DType::f64, {3})}, List{b.sin(x)}, 1);
  const GraphPtr graph = b.finish({b.sum_all(b.mul(loop.carry[0], c))});
  CHECK(kept_where_they_end(graph) == 1);
  check_orders(graph);
}

TEST_CASE("The last iteration leaves out products that only a further one would read") {
  check_loops([](std::int64_t n, bool reverse, const Policy& policy) {
    const GraphPtr keep = body_of({kVector, kVector}, [](Builder& b, const List& in) {
      return Ids{b.sin(b.add(in[0], in[1])), in[0], b.mul(in[0], in[1])};
    });
    const GraphPtr inner = body_of({kMatrix, kVector, kVector}, [](Builder& b, const List& in) {
      const Id next = b.reshape(b.dot(in[0], b.reshape(in[1], {3, 1})), {3});
      return Ids{b.mul(next, in[2]), in[1]};
    });
    // Both carries are dead at the end: one is a product, one is made by a loop. Results are
    // stacked, summed and scanned on the way.
    const GraphPtr pull = body_of(
        {kMatrix, kVector, kVector, kVector, kVector, kVector}, [&](Builder& b, const List& in) {
          const Id product = b.reshape(b.dot(in[0], b.reshape(in[1], {3, 1})), {3});
          const Id weights = b.broadcast(b.mul(in[2], in[5]), {0}, {2, 3});
          const Loop loop = b.scan(inner, List{in[0]}, List{in[1]}, List{weights}, 2);
          const Id sum = b.add(in[3], b.mul(in[1], in[4]));
          return Ids{b.add(product, in[4]), loop.carry[0], sum, b.sub(in[2], in[5])};
        });
    Builder b;
    const Id w = b.input(kMatrix), x = b.input(stacked(kVector, n)), c = b.input(kVector);
    const Loop kept = b.scan(keep, {}, List{c}, List{b.sin(x)}, n, reverse, policy);
    const Id zeros = b.full(0, DType::f64, {3});
    const Loop pulled =
        b.scan(pull, List{w}, List{kept.carry[0], zeros, zeros}, kept.ys, n, !reverse, policy);
    return b.finish({pulled.carry[2], pulled.ys[0]});
  });
}

TEST_CASE("Carries trade places, hold still, are delayed slices, or are one value") {
  check_loops([](std::int64_t n, bool reverse, const Policy& policy) {
    const GraphPtr body = body_of(
        {kVector, kVector, kVector, kVector, kVector, kVector}, [](Builder& b, const List& in) {
          const Id sum = b.mul(b.add(in[0], in[4]), b.sin(in[5]));
          // p' = q, q' = r, r' = p; the fourth delays an x; the sum goes everywhere.
          return Ids{in[1], in[2], in[0], in[4], sum, in[3], in[3], in[1], sum, sum};
        });
    const GraphPtr total = body_of({kVector, kVector, kVector, kVector, kVector, kVector},
                                   [](Builder& b, const List& in) {
                                     Id sum = in[0];
                                     for (std::size_t i = 1; i < 6; ++i)
                                       sum = b.add(b.mul(in[i], 0.5), b.sin(sum));
                                     return Ids{sum};
                                   });
    Builder b;
    const Id p = b.input(kVector), q = b.input(kVector), x = b.input(stacked(kVector, n));
    const Id r = b.tanh(p);
    const Loop loop =
        b.scan(body, {}, List{p, q, r, r, b.sin(q)}, List{b.cos(x)}, n, reverse, policy);
    List stacks(loop.ys.begin(), loop.ys.end());
    const Loop sum = b.scan(total, {}, List{q}, stacks, n, !reverse, policy);
    return b.finish({sum.carry[0], loop.carry[0], loop.carry[1], loop.carry[3], loop.ys[2]});
  });
}

TEST_CASE("One value may be a loop's constant, init and stack at once") {
  check_loops([](std::int64_t n, bool reverse, const Policy& policy) {
    const Type stack = stacked(kVector, n);
    const GraphPtr body =
        body_of({stack, kVector, stack, stack, kVector, kVector}, [](Builder& b, const List& in) {
          const Id mixed = b.sin(b.add(b.mul(in[2], in[0]), in[3]));
          const Id next = b.tanh(b.add(b.mul(in[4], in[1]), in[5]));
          return Ids{mixed, b.add(in[3], b.mul(mixed, 0.5)), next, in[4]};
        });
    Builder b;
    const Id x = b.input(stack), c = b.input(kVector);
    const Id s = b.tanh(x), init = b.sin(c);
    // Arguments: consts s, init; carries s, s, init; xs s.
    const GraphPtr ordered =
        body_of({stack, kVector, stack, stack, kVector, kVector},
                [&](Builder& inner, const List& in) { return inner.inline_graph(*body, in); });
    const Loop loop = b.scan(ordered, List{s, init}, List{s, s, init}, List{s}, n, reverse, policy);
    return b.finish({loop.carry[0], loop.carry[1], loop.carry[2], loop.ys[0]});
  });
}

TEST_CASE("Zeros are read as inits, constants and stacks, and never written") {
  check_loops([](std::int64_t n, bool reverse, const Policy& policy) {
    const GraphPtr body =
        body_of({kVector, kVector, kVector, kVector, kVector}, [](Builder& b, const List& in) {
          const Id next = b.tanh(b.add(b.add(in[1], in[0]), b.mul(in[3], in[4])));
          return Ids{next, b.add(in[2], in[3]), in[1], in[2], in[3]};
        });
    Builder b;
    const Id x = b.input(stacked(kVector, n));
    const Id zero = b.full(0, DType::f64, {3});
    const Id zeros = b.full(0, DType::f64, stacked(kVector, n).shape);
    const Loop loop =
        b.scan(body, List{zero}, List{zero, zero}, List{x, zeros}, n, reverse, policy);
    const Loop back = b.scan(body, List{zero}, List{zero, loop.carry[0]}, List{loop.ys[0], zeros},
                             n, !reverse, policy);
    return b.finish({back.carry[0], back.carry[1], back.ys[0], loop.ys[1], loop.ys[2], zero});
  });
}

TEST_CASE("Loops in loops in parallel loops, over stacks of carries") {
  for (const std::int64_t n : {1, 2, 3}) {
    for (const bool reverse : {false, true}) {
      if (!kThorough && reverse == (n == 3)) continue;
      CAPTURE(n);
      CAPTURE(reverse);
      const GraphPtr innermost =
          body_of({kVector, kVector, kVector}, [](Builder& b, const List& in) {
            return Ids{b.tanh(b.add(b.mul(in[0], in[1]), in[2])), in[1]};
          });
      const GraphPtr middle = body_of({kVector, kVector, kMatrix}, [&](Builder& b, const List& in) {
        const Loop loop = b.scan(innermost, List{in[0]}, List{in[1]}, List{in[2]}, 3, reverse,
                                 {Policy::Keep::carries, {}});
        return Ids{loop.carry[0], b.sum(loop.ys[0], {0})};
      });
      const GraphPtr outer =
          body_of({kVector, kVector, stacked(kMatrix, 2)}, [&](Builder& b, const List& in) {
            const Loop loop = b.scan(middle, List{in[0]}, List{in[1]}, List{in[2]}, 2, !reverse);
            return Ids{loop.carry[0], b.sum(loop.ys[0], {0}), b.sin(loop.ys[0])};
          });
      const GraphPtr keep = body_of({kVector, kVector}, [](Builder& b, const List& in) {
        return Ids{b.sin(b.add(in[0], in[1])), in[0]};
      });
      Builder b;
      const Id w = b.input(kVector), c = b.input(kVector), x = b.input(stacked(kVector, n));
      const Id m = b.input(stacked(stacked(kMatrix, 2), n));
      const Loop kept = b.scan(keep, {}, List{c}, List{x}, n, reverse);
      const Loop loop = b.map(outer, List{w}, List{kept.ys[0], m}, n, 2);
      check_orders(b.finish({loop.carry[0], loop.carry[1], loop.ys[0]}));
    }
  }
}

// The parallel loop that reads the edge last has nobody's slot to spare when every thread has one
// iteration.
TEST_CASE("Threads do not use each other's slices of a stack of carries") {
  const Type wide{DType::f64, {64, 64}};
  for (const bool reverse : {false, true}) {
    for (const std::int64_t n : {2, 3}) {
      CAPTURE(reverse);
      CAPTURE(n);
      const GraphPtr keep = body_of({wide, wide}, [](Builder& b, const List& in) {
        return Ids{b.sin(b.add(in[0], in[1])), in[0]};
      });
      const GraphPtr use = body_of({wide}, [](Builder& b, const List& in) {
        Id y = b.tanh(in[0]);
        for (int i = 0; i < 3; ++i) y = b.tanh(b.dot(b.mul(y, 0.1), y));
        return Ids{b.sum_all(y), b.dot(y, y)};
      });
      Builder b;
      const Id c = b.input(wide), x = b.input(stacked(wide, n));
      const Loop kept = b.scan(keep, {}, List{c}, List{x}, n, reverse);
      const Loop loop = b.map(use, {}, kept.ys, n, 1);
      const GraphPtr graph = b.finish({loop.carry[0], loop.ys[0]});
      const ProgramPtr program =
          compile(graph, {}, {.threads = static_cast<int>(n), .poison = true});
      for (const Instr& instr : program->body->instrs) {
        if (!instr.loop || instr.loop->threads == 1) continue;
        for (const StackPlan& xs : instr.loop->xs) CHECK_FALSE((xs.donated && xs.edge != kNone));
      }
      check_runs(graph);
    }
  }
}

TEST_CASE("A stack written over another waits for temporaries that have moved into its slots") {
  const Type square{DType::f64, {8, 8}};
  const std::int64_t n = 3;
  const GraphPtr body = body_of({square, square, square}, [](Builder& b, const List& in) {
    const Id early = b.tanh(in[1]);
    const Id second = b.sin(b.add(b.dot(early, in[0]), b.mul(early, in[1])));
    const Id first = b.dot(b.exp(b.dot(in[2], second)), in[0]);
    return Ids{first, second};
  });
  const GraphPtr twin = body_of({square, square, square}, [](Builder& b, const List& in) {
    const Id early = b.tanh(in[1]);
    const Id second = b.sin(b.add(b.dot(early, in[0]), early));
    const Id first = b.dot(b.tanh(in[2]), in[0]);
    return Ids{first, second};
  });
  for (const GraphPtr& each : {body, twin}) {
    for (const bool reverse : {false, true}) {
      Builder b;
      const Id w = b.input(square), x = b.input(stacked(square, n)),
               y = b.input(stacked(square, n));
      const Loop loop = b.scan(each, List{w}, {}, List{b.sin(x), b.cos(y)}, n, reverse);
      const Id tail = b.dot(loop.ys[0], loop.ys[1]);
      check_orders(b.finish({b.sum_all(b.tanh(tail)), b.sum_all(loop.ys[1])}));
    }
  }
}

TEST_CASE("Whole numbers are carried, stacked, scanned and summed") {
  const Type count{DType::i32, {3}};
  for (const std::int64_t n : {1, 2, 3}) {
    for (const bool reverse : {false, true}) {
      CAPTURE(n);
      CAPTURE(reverse);
      const GraphPtr step =
          body_of({count, kVector, count, kVector}, [](Builder& b, const List& in) {
            const Id next = b.add(in[0], in[2]);
            const Id y = b.mul(b.add(in[1], b.convert(next, DType::f64)), b.sin(in[3]));
            return Ids{next, y, in[0], y, next};
          });
      const GraphPtr back =
          body_of({count, kVector, count, kVector, count}, [](Builder& b, const List& in) {
            const Id picked = b.gather(in[3], in[2]);
            return Ids{b.sub(in[0], in[4]), b.tanh(b.add(in[1], picked)), picked, in[4]};
          });
      const GraphPtr each = body_of({count, kVector}, [](Builder& b, const List& in) {
        return Ids{b.add(in[0], in[0]), b.mul(in[1], b.convert(in[0], DType::f64)), in[0]};
      });
      Builder b;
      const Id start = b.input(count), index = b.input(stacked(count, n));
      const Id c = b.input(kVector), x = b.input(stacked(kVector, n));
      const Loop loop = b.scan(step, {}, List{start, c}, List{index, x}, n, reverse);
      const Loop last = b.scan(back, {}, List{loop.carry[0], loop.carry[1]},
                               List{index, loop.ys[1], loop.ys[2]}, n, !reverse);
      const Loop sums = b.map(each, {}, List{loop.ys[0], last.ys[0]}, n, 2);
      check_runs(b.finish({last.carry[0], last.carry[1], sums.carry[0], sums.carry[1], sums.ys[0],
                           last.ys[1]}),
                 static_cast<unsigned>(n));
      Builder floats;
      const Ids in{floats.input(count), floats.input(stacked(count, n)), floats.input(kVector),
                   floats.input(stacked(kVector, n))};
      const Loop again = floats.scan(step, {}, List{in[0], in[2]}, List{in[1], in[3]}, n, reverse);
      check_orders(floats.finish({again.carry[1], again.ys[1]}));
    }
  }
}

TEST_CASE("Outputs over inputs: later readers, exchanged inputs, and inputs that are outputs") {
  Builder b;
  const Id p = b.input(kMatrix), q = b.input(kMatrix), r = b.input(kMatrix), c = b.input(kVector);
  const Id early = b.tanh(p);
  const Id late = b.dot(early, p);
  const GraphPtr body = body_of({kMatrix, kVector, kVector}, [](Builder& inner, const List& in) {
    const Id next = inner.tanh(inner.add(in[1], in[2]));
    return Ids{next, inner.mul(next, inner.sum_all(in[0]))};
  });
  const Loop loop = b.scan(body, List{p}, List{c}, List{r}, 3);
  const GraphPtr graph = b.finish({early, p, q, late, loop.ys[0], loop.carry[0], c, p});
  const Donation to_early{.input = 0, .output = 0};
  const std::vector<std::vector<Donation>> choices = {
      {},
      {to_early},
      {{0, 2}, {1, 1}},          // p and q change places
      {{0, 2}, {1, 4}, {2, 1}},  // p, q and r go round
      {{0, 1}, {1, 2}},          // each stays where it is
      {{2, 4}, {3, 5}},          // a loop's results over its own operands
      {{3, 6}, {1, 0}, {2, 3}},
  };
  for (std::size_t i = 0; i < choices.size(); ++i) {
    CAPTURE(i);
    check_runs(graph, 5, choices[i]);
  }
}

TEST_CASE("A loop's stacked results lie over the inputs that it reads slice by slice") {
  // Two states that feed each other, each read before and after the new ones are known.
  const GraphPtr body = body_of({kVector, kMatrix, kMatrix}, [](Builder& b, const List& in) {
    const Id p = b.tanh(b.add(in[1], in[0]));
    const Id q = b.dot(p, in[2]);
    return Ids{b.sum(b.add(b.mul(q, in[1]), in[2]), {0}), p, q};
  });
  for (const std::int64_t n : {1, 2, 5}) {
    Builder b;
    const Id c = b.input(kVector), p = b.input(stacked(kMatrix, n)),
             q = b.input(stacked(kMatrix, n));
    const Loop loop = b.map(body, List{c}, List{p, q}, n, 1);
    const GraphPtr graph = b.finish({loop.carry[0], loop.ys[0], loop.ys[1]});
    const std::vector<Donation> straight = {{1, 1}, {2, 2}}, crossed = {{1, 2}, {2, 1}};
    for (const auto& donations : {straight, crossed, {{1, 1}}, {{2, 1}}}) {
      check_runs(graph, static_cast<unsigned>(n), donations);
    }
    // Nothing of the states' size but within an iteration.
    const auto dynamic_bytes = [&](const std::vector<Donation>& donations) {
      return compile(graph, donations, {.threads = 1})->dynamic_bytes;
    };
    if (n < 5) continue;
    CHECK(dynamic_bytes(straight) <= dynamic_bytes({}) - 2 * stacked(kMatrix, n - 2).bytes());
    // An input that is read afterwards, or is an output itself, is not overwritten.
    Builder late;
    const Id x = late.input(kVector), y = late.input(stacked(kMatrix, n));
    const Id z = late.input(stacked(kMatrix, n));
    const Loop again = late.map(body, List{x}, List{y, z}, n, 1);
    const GraphPtr read_later =
        late.finish({again.carry[0], again.ys[0], again.ys[1], late.tanh(y), z});
    for (const auto& donations : {straight, crossed}) check_runs(read_later, 3, donations);
  }
}

TEST_CASE("Loops without iterations return their inits") {
  const GraphPtr body = body_of({kVector, kVector}, [](Builder& b, const List& in) {
    return Ids{b.tanh(b.add(in[0], in[1])), in[0]};
  });
  Builder b;
  const Id c = b.input(kVector), x = b.input(stacked(kVector, 0));
  const Loop kept = b.scan(body, {}, List{b.sin(c)}, List{x}, 0);
  const Loop back = b.scan(body, {}, List{c}, List{kept.ys[0]}, 0, true);
  check_runs(b.finish({kept.carry[0], back.carry[0]}));
}

// Trip counts, saved and exchanged carries beside those of random_program, to the third derivative.
TEST_CASE("Random loops of every trip count run alike in every way") {
  constexpr unsigned kSeeds = 30;
  for (unsigned seed = 0; seed < kSeeds; ++seed) {
    CAPTURE(seed);
    check_runs(testing::random_loops(seed), seed);
  }
}

}  // namespace
}  // namespace mixflow
