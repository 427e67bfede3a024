// Pairs of arithmetic ops that become one op of the tile interpreter: which do, and what they
// compute.
#include "kernels/tile_space.h"

#include <doctest/doctest.h>

#include <map>
#include <tuple>
#include <vector>

#include "kernels/fused_run.h"

namespace mixflow {
namespace {

using testing::Doubles;
using testing::run;
using testing::worst_error;

constexpr TileOp kFirst[] = {TileOp::add, TileOp::sub, TileOp::mul, TileOp::square};
constexpr TileOp kSecond[] = {TileOp::add, TileOp::sub, TileOp::mul};

// (first, second, the first's result is the second's right operand) -> the op of both.
const std::map<std::tuple<TileOp, TileOp, bool>, TileOp> kExpected = {
    {{TileOp::mul, TileOp::add, false}, TileOp::mul_add},   // a b + c
    {{TileOp::mul, TileOp::add, true}, TileOp::mul_add},    // c + a b
    {{TileOp::mul, TileOp::sub, false}, TileOp::mul_sub},   // a b - c
    {{TileOp::mul, TileOp::sub, true}, TileOp::sub_mul},    // c - a b
    {{TileOp::mul, TileOp::mul, false}, TileOp::mul_mul},   // a b c
    {{TileOp::mul, TileOp::mul, true}, TileOp::mul_mul},    // c a b
    {{TileOp::add, TileOp::mul, false}, TileOp::sum_mul},   // (a + b) c
    {{TileOp::add, TileOp::mul, true}, TileOp::sum_mul},    // c (a + b)
    {{TileOp::sub, TileOp::mul, false}, TileOp::diff_mul},  // (a - b) c
    {{TileOp::sub, TileOp::mul, true}, TileOp::diff_mul},   // c (a - b)
    {{TileOp::add, TileOp::add, false}, TileOp::add_add},   // a + b + c
    {{TileOp::add, TileOp::add, true}, TileOp::add_add},    // c + a + b
    {{TileOp::sub, TileOp::add, false}, TileOp::diff_add},  // a - b + c
    {{TileOp::sub, TileOp::add, true}, TileOp::diff_add},   // c + a - b
};

// x, y, z over [rows, cols]: second(first(x, y), z), or second(z, first(x, y)).
FusedSpec chain(TileOp first, TileOp second, bool swapped, AxisMask z_axes = 3) {
  FusedSpec spec{.space = {7, 45}, .num_inputs = 3};
  spec.operands = {{0, 3}, {1, 3}, {2, z_axes}};
  spec.instrs = {{.op = first, .a = 0, .b = first == TileOp::square ? -1 : 1},
                 {.op = second, .a = swapped ? 2 : 3, .b = swapped ? 3 : 2}};
  spec.outputs = {{4, 3}};
  return spec;
}

std::vector<TileOp> needed_ops(const FusedSpec& spec) {
  const TileSpace space = make_tile_space(spec);
  std::vector<TileOp> ops;
  for (std::size_t i = 0; i < space.instrs.size(); ++i) {
    if (space.values[space.operands.size() + i].needed) ops.push_back(space.instrs[i].op);
  }
  return ops;
}

// Inputs that no exchange of operands leaves alone.
std::vector<Doubles> inputs_of(const FusedSpec& spec) {
  std::vector<Doubles> inputs;
  for (const auto& operand : spec.operands) {
    Doubles& input =
        inputs.emplace_back(static_cast<std::size_t>(testing::elements_over(spec, operand.axes)));
    for (std::size_t i = 0; i < input.size(); ++i) {
      input[i] =
          static_cast<double>(operand.input + 2) * 0.375 + 0.0078125 * static_cast<double>(i % 61);
    }
  }
  return inputs;
}

void check_values(const FusedSpec& spec) {
  const std::vector<Doubles> inputs = inputs_of(spec);
  const testing::Run result = run(spec, inputs);
  CHECK(result.intact);
  CHECK(worst_error(spec, inputs, result) < 1e-6);
}

TEST_CASE("Each pair of the table is one op, no other pair is, and all compute what the two did") {
  std::size_t paired = 0;
  for (const TileOp first : kFirst) {
    for (const TileOp second : kSecond) {
      for (const bool swapped : {false, true}) {
        CAPTURE(static_cast<int>(first));
        CAPTURE(static_cast<int>(second));
        CAPTURE(swapped);
        const TileOp product = first == TileOp::square ? TileOp::mul : first;
        const auto both = kExpected.find({product, second, swapped});
        paired += both != kExpected.end() && first != TileOp::square;
        // z along both axes, along rows, along columns, one number: each has a splat of its own.
        for (const AxisMask z_axes : {3u, 1u, 2u, 0u}) {
          const FusedSpec spec = chain(first, second, swapped, z_axes);
          CHECK(needed_ops(spec) ==
                (both == kExpected.end() ? std::vector{first, second} : std::vector{both->second}));
          check_values(spec);
        }
      }
    }
  }
  CHECK(paired == kExpected.size());
}

TEST_CASE("A result that something else reads, or that is stored, is not taken into a pair") {
  FusedSpec read_twice = chain(TileOp::mul, TileOp::add, false);
  read_twice.instrs.push_back({.op = TileOp::sub, .a = 4, .b = 3});
  read_twice.outputs = {{5, 3}};
  CHECK(needed_ops(read_twice) == std::vector{TileOp::mul, TileOp::add, TileOp::sub});
  check_values(read_twice);

  FusedSpec stored = chain(TileOp::mul, TileOp::add, false);
  stored.outputs.push_back({3, 3});
  CHECK(needed_ops(stored) == std::vector{TileOp::mul, TileOp::add});
  check_values(stored);

  FusedSpec squared = chain(TileOp::add, TileOp::mul, false);
  squared.instrs[1] = {.op = TileOp::mul, .a = 3, .b = 3};
  CHECK(needed_ops(squared) == std::vector{TileOp::add, TileOp::mul});
  check_values(squared);
}

TEST_CASE("A result that nothing needs does not keep another from a pair") {
  FusedSpec spec = chain(TileOp::mul, TileOp::add, false);
  spec.instrs.push_back({.op = TileOp::exp, .a = 3});
  CHECK(needed_ops(spec) == std::vector{TileOp::mul_add});
  check_values(spec);
}

TEST_CASE("Values that are computed once in a row are not paired with those of each element") {
  FusedSpec spec = chain(TileOp::mul, TileOp::add, false);
  spec.operands[0].axes = spec.operands[1].axes = 1;  // their product is the same in a whole row
  CHECK(needed_ops(spec) == std::vector{TileOp::mul, TileOp::add});
  check_values(spec);
}

TEST_CASE("Of a chain every second op takes in the one before") {
  FusedSpec spec{.space = {7, 45}, .num_inputs = 3};
  spec.operands = {{0, 3}, {1, 3}, {2, 3}};
  spec.instrs = {{.op = TileOp::mul, .a = 0, .b = 1},
                 {.op = TileOp::add, .a = 3, .b = 2},
                 {.op = TileOp::mul, .a = 4, .b = 0},
                 {.op = TileOp::sub, .a = 1, .b = 5}};
  spec.outputs = {{6, 3}};
  CHECK(needed_ops(spec) == std::vector{TileOp::mul_add, TileOp::sub_mul});
  check_values(spec);
}

}  // namespace
}  // namespace mixflow
