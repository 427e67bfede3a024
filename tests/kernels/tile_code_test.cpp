// Runs of steps as machine code: which steps become code, and that the code computes what the steps
// did, to the bit where no sum is involved. On CPUs without AVX-512 there is no code, and the tests
// of its values compare the steps with themselves.
#include "kernels/tile_code.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/every_target.h"
#include "kernels/fused_run.h"
#include "kernels/guarded.h"
#include "kernels/run_code.h"

namespace mixflow {
namespace {

using testing::Doubles;
using testing::elements_over;
using testing::run;
using testing::worst_error;

using Kind = TileStep::Kind;

constexpr AxisMask kAll = 3, kRow = 1, kColumn = 2, kOne = 0;

constexpr TileOp kOps[] = {
    TileOp::copy,    TileOp::neg,      TileOp::sqrt,    TileOp::rsqrt,   TileOp::reciprocal,
    TileOp::square,  TileOp::abs,      TileOp::sign,    TileOp::relu,    TileOp::step,
    TileOp::add,     TileOp::sub,      TileOp::mul,     TileOp::div,     TileOp::max,
    TileOp::min,     TileOp::less,     TileOp::equal,   TileOp::select,  TileOp::mul_add,
    TileOp::mul_sub, TileOp::sub_mul,  TileOp::mul_mul, TileOp::sum_mul, TileOp::diff_mul,
    TileOp::add_add, TileOp::diff_add,
};

// Every pair of these meets in two inputs of enough elements.
constexpr float kSpecial[] = {0.0F,
                              -0.0F,
                              1.0F,
                              -1.5F,
                              testing::kInf,
                              -testing::kInf,
                              std::numeric_limits<float>::quiet_NaN(),
                              3e38F,
                              7.25F,
                              -3e38F,
                              1e-30F,
                              0.3F,
                              -7.1F};

Doubles special_values(std::int64_t n, int input) {
  Doubles values;
  constexpr int kCount = std::size(kSpecial);
  for (int i = 0; i < n; ++i) {
    const int turn = input == 0   ? i % kCount
                     : input == 1 ? i / kCount % kCount
                                  : (i + i / 5) % kCount;
    values.push_back(static_cast<double>(kSpecial[turn]));
  }
  return values;
}

bool same(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof a) == 0;
}

// The op, and behind it one that makes a run of the two and keeps all bits.
FusedSpec spec_of(TileOp op, const std::vector<std::int64_t>& space,
                  const std::vector<AxisMask>& axes) {
  FusedSpec spec{.space = space, .num_inputs = static_cast<std::int32_t>(axes.size())};
  for (std::size_t i = 0; i < axes.size(); ++i)
    spec.operands.push_back({static_cast<std::int32_t>(i), axes[i]});
  const auto n = static_cast<std::int32_t>(axes.size());
  spec.instrs = {{.op = op, .a = 0, .b = n > 1 ? 1 : -1, .c = n > 2 ? 2 : -1},
                 {.op = TileOp::neg, .a = n}};
  spec.outputs = {{n, kAll}, {n + 1, kAll}};
  return spec;
}

// How many steps of each kind a tile takes.
std::int64_t count(const TileProgram& program, Kind kind) {
  std::int64_t n = 0;
  for (const TileProgram::Phase& phase : program.phases) {
    for (const auto& steps : {phase.row_steps, phase.chunk_steps})
      n += std::ranges::count(steps, kind, &TileStep::kind);
  }
  return n + std::ranges::count(program.tile_end, kind, &TileStep::kind);
}
std::int64_t count(const TileProgram& program) {
  std::size_t n = program.tile_end.size();
  for (const TileProgram::Phase& phase : program.phases)
    n += phase.row_steps.size() + phase.chunk_steps.size();
  return static_cast<std::int64_t>(n);
}

TileProgram compiled(const FusedSpec& spec) {
  TileProgram program = fused_program(spec);
  compile_runs(program);
  return program;
}

TEST_CASE("code computes the bits of the steps, whatever the op, its operands and the tile") {
  if ((hwy::SupportedTargets() & HWY_AVX2) == 0) return;  // others round twice where these fuse
  const std::vector<std::vector<std::int64_t>> spaces = {{13, 40}, {200, 3}, {1, 5000}, {70, 130}};
  for (const TileOp op : kOps) {
    for (const auto& space : spaces) {
      for (const AxisMask second : {kAll, kRow, kColumn, kOne}) {
        CAPTURE(static_cast<int>(op));
        CAPTURE(space);
        CAPTURE(second);
        std::vector<AxisMask> axes(static_cast<std::size_t>(operand_count(op)), kAll);
        axes.back() = second;  // the only one, too: then the value is spread where it is stored
        const FusedSpec spec = spec_of(op, space, axes);
        std::vector<Doubles> inputs;
        for (std::size_t i = 0; i < axes.size(); ++i)
          inputs.push_back(special_values(elements_over(spec, axes[i]), static_cast<int>(i)));
        const testing::Run code = run(spec, inputs);
        CHECK(code.intact);
        testing::Run steps;
        on_every_target(HWY_AVX2, [&] { steps = run(spec, inputs); });
        for (std::size_t j = 0; j < spec.outputs.size(); ++j) {
          CHECK(std::ranges::equal(code.outputs[j], steps.outputs[j], same));
        }
      }
    }
  }
}

TEST_CASE("runs of steps become one step, and functions that have no code end them") {
  if (!tile_fns_use_avx512()) return;
  FusedSpec spec = spec_of(TileOp::mul, {7, 45}, {kAll, kAll});
  CHECK(count(compiled(spec)) == 1);
  CHECK(count(compiled(spec), Kind::code) == 1);

  spec.instrs.push_back({.op = TileOp::exp, .a = 3});
  spec.instrs.push_back({.op = TileOp::add, .a = 4, .b = 0});
  spec.instrs.push_back({.op = TileOp::relu, .a = 5});
  spec.outputs = {{6, kAll}};
  const TileProgram program = compiled(spec);
  CHECK(count(program, Kind::code) == 2);
  CHECK(count(program) == 3);

  // Short rows would fill vectors badly: what repeats one stays spread.
  const FusedSpec narrow = spec_of(TileOp::mul, {70, 5}, {kAll, kColumn});
  CHECK(compiled(narrow).prologue.size() == 1);

  // A single op of an elementwise kernel is a loop already.
  spec = spec_of(TileOp::mul, {7, 45}, {kAll, kAll});
  spec.outputs = {{2, kAll}};
  CHECK(count(compiled(spec), Kind::code) == 0);
}

// relu(x + b) w summed over the rows, times r, its column sums and what it is made of: the last
// layer of a small network.
FusedSpec layer(std::int64_t rows, std::int64_t cols) {
  FusedSpec spec{.space = {rows, cols}, .num_inputs = 4};
  spec.operands = {{0, kAll}, {1, kColumn}, {2, kColumn}, {3, kRow}};
  spec.instrs = {{.op = TileOp::add, .a = 0, .b = 1},  {.op = TileOp::relu, .a = 4},
                 {.op = TileOp::mul, .a = 5, .b = 2},  {.op = TileOp::sum, .a = 6},
                 {.op = TileOp::sub, .a = 7, .b = 3},  {.op = TileOp::mul, .a = 8, .b = 8},
                 {.op = TileOp::mul, .a = 5, .b = 8},  {.op = TileOp::step, .a = 5},
                 {.op = TileOp::mul, .a = 10, .b = 11}};
  spec.outputs = {{9, kRow}, {5, kAll}, {10, kColumn, true}, {12, kColumn, true}};
  return spec;
}

TEST_CASE("a small layer is code, its sums included, and rows that repeat one are not made") {
  const auto repeats = [](const TileProgram& program) {
    return std::ranges::count(program.prologue, row_fns().repeat, &TileStep::row_fn);
  };
  const FusedSpec small = layer(10, 40);
  CHECK(repeats(fused_program(small)) == 2);
  if (!tile_fns_use_avx512()) return;
  const TileProgram program = compiled(small);
  // Until the sum, behind it by row, the rest; what is stored by row is a copy.
  CHECK(count(program, Kind::code) == 3);
  CHECK(count(program) == 4);
  CHECK(repeats(program) == 0);
  // Long rows have no column sums in code.
  CHECK(count(compiled(layer(10, 400)), Kind::sum_columns) == 2);
}

TEST_CASE("layers of any size come out right, in tiles and with a rest of a vector") {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> uniform(-1, 1);
  for (const std::int64_t rows : {1, 2, 10, 33, 300}) {
    for (const std::int64_t cols : {1, 7, 16, 40, 64, 65, 100, 530}) {
      CAPTURE(rows);
      CAPTURE(cols);
      const FusedSpec spec = layer(rows, cols);
      std::vector<Doubles> inputs;
      for (const auto& operand : spec.operands) {
        Doubles& input =
            inputs.emplace_back(static_cast<std::size_t>(elements_over(spec, operand.axes)));
        for (double& x : input)
          x = static_cast<double>(uniform(random)) / std::sqrt(static_cast<double>(cols));
      }
      const testing::Run all = run(spec, inputs);
      CHECK(all.intact);
      CHECK(worst_error(spec, inputs, all) < 1e-5);
      const testing::Run some = run(spec, inputs, 2);  // a sum that nobody takes
      CHECK(some.intact);
      CHECK(some.outputs[3] == all.outputs[3]);
    }
  }
}

}  // namespace
}  // namespace mixflow
