// Fused kernels against the naive meaning of their specs: random clusters over adversarial spaces,
// and the promises about guards, null outputs, in-place runs and threads.
#include "kernels/fused.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <string>

#include "kernels/fused_run.h"
#include "kernels/tile_code.h"

namespace mixflow {
namespace {

using testing::all_axes;
using testing::Doubles;
using testing::elements_over;
using testing::run;
using testing::Run;
using testing::worst_error;

class RandomSpec {
 public:
  explicit RandomSpec(unsigned seed) : random_(seed) {}

  FusedSpec make() {
    FusedSpec spec;
    static const std::vector<std::vector<std::int64_t>> kSpaces = {
        {},        {1},         {7},          {513},           {40, 40},           {10, 1},
        {3, 5, 7}, {1, 600},    {2, 3, 1, 4}, {600, 3},        {25, 10, 4},        {5, 1100},
        {2, 6000}, {1, 1, 1},   {3, 1, 5},    {4, 2, 3, 2, 5}, {2, 3, 2, 2, 3, 7}, {1300},
        {70, 33},  {9, 130, 6}, {300, 20}};
    spec.space = kSpaces[below(kSpaces.size())];
    const std::size_t rank = spec.space.size();
    const AxisMask all = all_axes(spec);
    const bool rows = rank > 0 && below(2) == 0;
    const int num_operands = 1 + static_cast<int>(below(5));
    for (int i = 0; i < num_operands; ++i) {
      const AxisMask axes = below(2) == 0 ? all : static_cast<AxisMask>(random_()) & all;
      const bool again = i > 0 && below(6) == 0 && spec.operands.back().axes == axes;
      if (!again) ++spec.num_inputs;
      spec.operands.push_back({spec.num_inputs - 1, axes});
      masks_.push_back(axes);
      usable_.push_back(i);
    }
    const std::size_t count = below(12);
    for (std::size_t i = 0; i < count; ++i) add_instr(spec, rows);
    add_outputs(spec, rows);
    return spec;
  }

  std::vector<Doubles> inputs(const FusedSpec& spec) {
    std::vector<Doubles> inputs(static_cast<std::size_t>(spec.num_inputs));
    for (const auto& operand : spec.operands) {
      Doubles& input = inputs[static_cast<std::size_t>(operand.input)];
      input.resize(static_cast<std::size_t>(elements_over(spec, operand.axes)));
      for (double& x : input)
        x = static_cast<double>(std::uniform_real_distribution<float>(-1, 1)(random_));
    }
    return inputs;
  }

  std::size_t below(std::size_t limit) { return random_() % limit; }

 private:
  std::int32_t any_value() { return usable_[below(usable_.size())]; }

  void add_instr(FusedSpec& spec, bool rows) {
    static constexpr TileOp kSmooth1[] = {TileOp::tanh, TileOp::sin, TileOp::neg, TileOp::sigmoid,
                                          TileOp::relu};
    static constexpr TileOp kSmooth2[] = {TileOp::add, TileOp::sub, TileOp::mul, TileOp::max,
                                          TileOp::min};
    const auto operand = [&] { return static_cast<std::int32_t>(below(spec.operands.size())); };
    FusedSpec::Instr instr;
    AxisMask mask = 0;
    switch (below(rows ? 10 : 8)) {
      case 0:
        instr = {.op = TileOp::full, .imm = 0.75};
        break;
      case 1:
        if (spec.space.empty()) return;
        instr = {.op = TileOp::iota, .axis = static_cast<std::int32_t>(below(spec.space.size()))};
        push_scaled(spec, instr, AxisMask{1} << instr.axis, 0x1p-12);
        return;
      case 2:
        instr = {.op = TileOp::less, .a = operand(), .b = operand()};
        break;  // exact: no rounding before
      case 3:
        instr = {.op = TileOp::select, .a = operand(), .b = any_value(), .c = any_value()};
        break;
      case 4:
        instr = {.op = kSmooth1[below(5)], .a = any_value()};
        break;
      case 8:
      case 9:
        instr = {.op = below(3) == 0 ? TileOp::max_reduce : TileOp::sum, .a = any_value()};
        mask = masks_[static_cast<std::size_t>(instr.a)] & (all_axes(spec) >> 1);
        push_scaled(spec, instr, mask,
                    1.0 / static_cast<double>(std::max<std::int64_t>(1, spec.space.back())));
        return;
      default:
        instr = {.op = kSmooth2[below(5)], .a = any_value(), .b = any_value()};
        break;
    }
    for (const std::int32_t in : {instr.a, instr.b, instr.c}) {
      if (in >= 0) mask |= masks_[static_cast<std::size_t>(in)];
    }
    push(spec, instr, mask);
  }

  void push(FusedSpec& spec, const FusedSpec::Instr& instr, AxisMask mask) {
    spec.instrs.push_back(instr);
    usable_.push_back(static_cast<std::int32_t>(masks_.size()));
    masks_.push_back(mask);
  }

  // Large values are used in the range of all others only, where functions of them are well
  // conditioned.
  void push_scaled(FusedSpec& spec, const FusedSpec::Instr& instr, AxisMask mask, double scale) {
    const auto value = static_cast<std::int32_t>(masks_.size());
    push(spec, instr, mask);
    usable_.pop_back();
    push(spec, {.op = TileOp::full, .imm = scale}, 0);
    push(spec, {.op = TileOp::mul, .a = value, .b = value + 1}, mask);
  }

  void add_outputs(FusedSpec& spec, bool rows) {
    const AxisMask all = all_axes(spec);
    const std::size_t count = 1 + below(4);
    for (std::size_t j = 0; j < count; ++j) {
      const std::int32_t value = any_value();
      const AxisMask mask = masks_[static_cast<std::size_t>(value)];
      const AxisMask outer = all >> 1;
      if (below(3) == 0 && !spec.space.empty()) {
        const std::size_t begin = below(spec.space.size());
        const std::size_t end = begin + 1 + below(spec.space.size() - begin);
        const AxisMask reduced = ((AxisMask{1} << end) - 1) & ~((AxisMask{1} << begin) - 1);
        spec.outputs.push_back({value, all & ~reduced, true});
      } else if (rows && (mask & ~outer) == 0 && below(2) == 0) {
        spec.outputs.push_back({value, outer, false});
      } else {
        spec.outputs.push_back({value, all, false});
      }
    }
  }

  std::mt19937 random_;
  std::vector<AxisMask> masks_;
  std::vector<std::int32_t> usable_;  // values that others may read
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

TEST_CASE(
    "random clusters compute what their values are, inside their buffers, in place and without "
    "some outputs") {
  int in_place_runs = 0;
  for (unsigned seed = 0; seed < 3000; ++seed) {
    CAPTURE(seed);
    RandomSpec random(seed);
    const FusedSpec spec = random.make();
    const std::vector<Doubles> inputs = random.inputs(spec);
    const Run plain = run(spec, inputs);
    REQUIRE(plain.intact);
    REQUIRE(worst_error(spec, inputs, plain) < 1e-5);

    const int skip = static_cast<int>(random.below(spec.outputs.size()));
    const Run without = run(spec, inputs, skip);
    REQUIRE(without.intact);
    for (std::size_t j = 0; j < spec.outputs.size(); ++j) {
      if (static_cast<int>(j) != skip) REQUIRE(same_bits(without.outputs[j], plain.outputs[j]));
    }

    const std::vector<std::uint32_t> may = fused_in_place(spec);
    std::vector<int> over(spec.outputs.size(), -1);
    std::uint32_t taken = 0;
    for (std::size_t j = 0; j < over.size(); ++j) {
      for (int i = 0; i < spec.num_inputs && over[j] < 0; ++i) {
        if (((may[j] & ~taken) >> i & 1u) != 0) over[j] = i;
      }
      if (over[j] >= 0) taken |= 1u << over[j];
    }
    if (taken == 0) continue;
    ++in_place_runs;
    const Run over_inputs = run(spec, inputs, -1, over);
    for (std::size_t j = 0; j < spec.outputs.size(); ++j) {
      REQUIRE(same_bits(over_inputs.outputs[j], plain.outputs[j]));
    }
  }
  CHECK(in_place_runs > 300);
}

// (a, b) -> (a + b, a * b), the second written over a, which the first must not do before both are
// known.
FusedSpec sum_and_product(std::int64_t n) {
  FusedSpec spec{.space = {n}, .num_inputs = 2};
  spec.operands = {{0, 1}, {1, 1}};
  spec.instrs = {{.op = TileOp::add, .a = 0, .b = 1}, {.op = TileOp::mul, .a = 0, .b = 1}};
  spec.outputs = {{2, 1}, {3, 1}};
  return spec;
}

TEST_CASE("random clusters have the same bits by steps and as machine code, but for sums") {
  int as_code = 0;
  for (unsigned seed = 0; seed < 600; ++seed) {
    CAPTURE(seed);
    RandomSpec random(seed);
    const FusedSpec spec = random.make();
    const auto is_sum = [](const FusedSpec::Instr& instr) { return instr.op == TileOp::sum; };
    if (std::ranges::any_of(spec.instrs, is_sum)) continue;
    TileProgram program = fused_program(spec);
    const auto by_steps = make_tile_kernel(program);
    compile_runs(program);
    as_code += program.code.empty() ? 0 : 1;
    const auto as_runs = make_tile_kernel(program);
    CHECK(as_runs->scratch_bytes == by_steps->scratch_bytes);
    const std::vector<Doubles> inputs = random.inputs(spec);
    const Run expected = run(*by_steps, spec, inputs), found = run(*as_runs, spec, inputs);
    CHECK(found.intact);
    for (std::size_t j = 0; j < spec.outputs.size(); ++j) {
      if (!spec.outputs[j].sum) CHECK(same_bits(found.outputs[j], expected.outputs[j]));
    }
  }
  if (tile_fns_use_avx512()) CHECK(as_code > 100);
}

TEST_CASE("outputs over the inputs of other outputs are stored only when all of a tile is known") {
  std::mt19937 random(5);
  std::vector<Doubles> inputs(2, Doubles(5000));
  for (Doubles& input : inputs) {
    for (double& x : input)
      x = static_cast<double>(std::uniform_real_distribution<float>(-1, 1)(random));
  }
  const FusedSpec spec = sum_and_product(5000);
  REQUIRE(fused_in_place(spec) == std::vector<std::uint32_t>{3, 3});
  const Run plain = run(spec, inputs);
  for (const std::vector<int>& over : {std::vector<int>{0, 1}, {1, 0}, {0, -1}, {-1, 0}}) {
    const Run result = run(spec, inputs, -1, over);
    CHECK(same_bits(result.outputs[0], plain.outputs[0]));
    CHECK(same_bits(result.outputs[1], plain.outputs[1]));
  }
}

// (x, table [.., s, m, w]) -> (x * table + reverse(x) * tanh(reverse(table)), reverse of that, its
// sum over the first axis).
FusedSpec turned(std::vector<std::int64_t> space) {
  FusedSpec spec{.space = std::move(space), .num_inputs = 2};
  const AxisMask all = all_axes(spec);
  spec.operands = {{0, all}, {1, all & ~AxisMask{1}}};
  spec.instrs = {{.op = TileOp::mul, .a = 0, .b = 1}, {.op = TileOp::reverse, .a = 0},
                 {.op = TileOp::reverse, .a = 1},     {.op = TileOp::tanh, .a = 4},
                 {.op = TileOp::mul, .a = 3, .b = 5}, {.op = TileOp::add, .a = 2, .b = 6},
                 {.op = TileOp::reverse, .a = 7}};
  spec.outputs = {{7, all}, {8, all}, {7, all & ~AxisMask{1}, true}};
  return spec;
}

TEST_CASE("reversals inside tiles, in place too, on one thread and on several") {
  const std::vector<std::int64_t> spaces[] = {{3, 2, 5},       {2, 7, 2, 32},   {3, 40, 2, 24},
                                              {4, 100, 3, 17}, {2, 60, 16, 32}, {5, 3, 1, 7},
                                              {70, 50, 4, 8},  {2, 3, 9, 1}};
  std::mt19937 random(8);
  for (const std::vector<std::int64_t>& space : spaces) {
    CAPTURE(space.size());
    CAPTURE(space.back());
    FusedSpec spec = turned(space);
    std::vector<Doubles> inputs;
    for (const auto& operand : spec.operands) {
      inputs.emplace_back(static_cast<std::size_t>(elements_over(spec, operand.axes)));
      for (double& x : inputs.back())
        x = static_cast<double>(std::uniform_real_distribution<float>(-1, 1)(random));
    }
    const Run plain = run(spec, inputs);
    CHECK(plain.intact);
    CHECK(worst_error(spec, inputs, plain) < 1e-5);
    REQUIRE((fused_in_place(spec)[0] & 1u) == 1);
    REQUIRE((fused_in_place(spec)[1] & 1u) == 1);
    for (const std::vector<int>& over : {std::vector<int>{0, -1, -1}, {-1, 0, -1}}) {
      const Run result = run(spec, inputs, -1, over);
      CHECK(same_bits(result.outputs[0], plain.outputs[0]));
      CHECK(same_bits(result.outputs[1], plain.outputs[1]));
    }
    CHECK(run(spec, inputs, 0).intact);
    spec.threads = 3;
    const Run many = run(spec, inputs);
    CHECK(many.intact);
    CHECK(same_bits(many.outputs[0], plain.outputs[0]));
    CHECK(same_bits(many.outputs[1], plain.outputs[1]));
  }
}

// (x [n,d]) -> softmax over rows, the columns' sums of x, the sum of everything.
FusedSpec softmax_and_sums(std::int64_t n, std::int64_t d) {
  FusedSpec spec{.space = {n, d}, .num_inputs = 1};
  spec.operands = {{0, 3}};
  spec.instrs = {{.op = TileOp::max_reduce, .a = 0},
                 {.op = TileOp::sub, .a = 0, .b = 1},
                 {.op = TileOp::exp, .a = 2},
                 {.op = TileOp::sum, .a = 3},
                 {.op = TileOp::div, .a = 3, .b = 4}};
  spec.outputs = {{5, 3}, {0, 2, true}, {0, 0, true}};
  return spec;
}

TEST_CASE("threads change sums by rounding only, nothing else, and always in the same way") {
  std::mt19937 random(6);
  const std::pair<std::int64_t, std::int64_t> spaces[] = {{3000, 40}, {130, 600}, {70, 5000}};
  for (const auto& [n, d] : spaces) {
    CAPTURE(n);
    std::vector<Doubles> inputs(1, Doubles(static_cast<std::size_t>(n * d)));
    for (double& x : inputs[0])
      x = static_cast<double>(std::uniform_real_distribution<float>(0, 9)(random));
    FusedSpec spec = softmax_and_sums(n, d);
    const Run one = run(spec, inputs);
    CHECK(worst_error(spec, inputs, one) < 1e-6);
    for (const int threads : {2, 3}) {
      spec.threads = threads;
      const Run many = run(spec, inputs);
      CHECK(many.intact);
      CHECK(worst_error(spec, inputs, many) < 1e-6);
      CHECK(same_bits(many.outputs[0], one.outputs[0]));
      for (int again = 0; again < 3; ++again) {
        const Run repeated = run(spec, inputs);
        for (std::size_t j = 0; j < 3; ++j) CHECK(same_bits(repeated.outputs[j], many.outputs[j]));
      }
    }
  }
}

TEST_CASE("threads divide the columns of a single row") {
  FusedSpec spec = sum_and_product(100003);
  spec.outputs.push_back({3, 0, true});
  std::vector<Doubles> inputs(2, Doubles(100003, 0.5));
  const Run one = run(spec, inputs);
  spec.threads = 2;
  const Run two = run(spec, inputs);
  CHECK(two.intact);
  CHECK(same_bits(two.outputs[0], one.outputs[0]));
  CHECK(same_bits(two.outputs[1], one.outputs[1]));
  CHECK(two.outputs[2][0] == doctest::Approx(100003 * 0.25).epsilon(1e-7));
}

// Scores where the row's last visible position is behind the column, else -1.
FusedSpec masked(std::int64_t rows, std::int64_t cols) {
  FusedSpec spec{.space = {rows, cols}, .num_inputs = 2};
  spec.operands = {{0, 3}, {1, 1}};
  spec.instrs = {{.op = TileOp::iota, .axis = 1},
                 {.op = TileOp::less, .a = 2, .b = 1},
                 {.op = TileOp::full, .imm = -1},
                 {.op = TileOp::select, .a = 3, .b = 0, .c = 4}};
  spec.outputs = {{5, 3}, {2, 3}};
  return spec;
}

TEST_CASE("columns know their position in every chunk of a row") {
  for (const std::int64_t rows : {1, 3, 70}) {
    for (const std::int64_t cols : {5, 512, 513, 1300, 6001}) {
      CAPTURE(cols);
      FusedSpec spec = masked(rows, cols);
      std::vector<Doubles> inputs(2);
      for (std::int64_t i = 0; i < rows * cols; ++i)
        inputs[0].push_back(static_cast<double>(i % 911));
      for (std::int64_t r = 0; r < rows; ++r)
        inputs[1].push_back(static_cast<double>(cols - 1 - r * 67 % cols));
      for (const int threads : {1, 2}) {
        spec.threads = threads;
        const Run result = run(spec, inputs);
        CHECK(result.intact);
        CHECK(worst_error(spec, inputs, result) == 0);
      }
    }
  }
}

TEST_CASE("sums over very many rows keep their accuracy") {
  FusedSpec spec{.space = {200000, 3}, .num_inputs = 1};
  spec.operands = {{0, 3}};
  spec.outputs = {{0, 2, true}, {0, 0, true}};
  std::mt19937 random(7);
  std::vector<Doubles> inputs(1, Doubles(600000));
  for (double& x : inputs[0])
    x = static_cast<double>(std::uniform_real_distribution<float>(0, 1)(random));
  CHECK(worst_error(spec, inputs, run(spec, inputs)) < 5e-7);
}

TEST_CASE("empty spaces leave zeros in sums and minus infinity in maxima") {
  FusedSpec spec{.space = {0, 4}, .num_inputs = 1};
  spec.operands = {{0, 3}};
  spec.outputs = {{0, 2, true}, {0, 0, true}};
  const Run no_rows = run(spec, {Doubles{}});
  CHECK(no_rows.intact);
  CHECK(no_rows.outputs[0] == std::vector<float>(4, 0.0f));
  CHECK(no_rows.outputs[1] == std::vector<float>(1, 0.0f));
  spec.space = {3, 0};
  spec.instrs = {{.op = TileOp::max_reduce, .a = 0}, {.op = TileOp::sum, .a = 0}};
  spec.outputs = {{1, 1}, {2, 1}, {0, 0, true}};
  const Run no_columns = run(spec, {Doubles{}});
  CHECK(no_columns.intact);
  CHECK(no_columns.outputs[0] == std::vector<float>(3, -std::numeric_limits<float>::infinity()));
  CHECK(no_columns.outputs[1] == std::vector<float>(3, 0.0f));
  CHECK(no_columns.outputs[2] == std::vector<float>(1, 0.0f));
}

}  // namespace
}  // namespace mixflow
