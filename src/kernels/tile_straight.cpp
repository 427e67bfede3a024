#include "kernels/tile_straight.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

namespace mixflow {
namespace {

using Kind = TileStep::Kind;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// A call, with everything known but where the buffers are. One of the functions is set.
struct Call {
  TileFn fn = nullptr;
  TileCode code = nullptr;
  RowFn row_fn = nullptr;
  std::uint32_t dst_base, a_base, b_base, c_base;
  std::int64_t dst_offset, a_offset, b_offset, c_offset;
  std::size_t n = 0, cols = 0;  // elements; for code and row_fn rows and columns
};

class StraightKernel final : public Kernel {
 public:
  StraightKernel(const TileProgram& program, std::vector<Call> calls)
      : Kernel(program.scratch_floats * static_cast<std::int64_t>(sizeof(float))),
        calls_(std::move(calls)),
        code_(program.code),
        constants_(program.constants) {
    for (std::size_t i = 2; i < program.bases.size(); ++i) {
      const TileBase& base = program.bases[i];
      if (base.kind == TileBase::Kind::input) inputs_.push_back(size(base.index));
    }
    for (std::size_t i = 2 + inputs_.size(); i < program.bases.size(); ++i) {
      Output output{.index = size(program.bases[i].index), .fallback = program.bases[i].fallback};
      for (const TileSum& sum : program.sums) {
        if (size(sum.output) != output.index) continue;
        output.is_sum = true;
        if (sum.inner_kept) output.cleared = size(sum.width) * sizeof(float);
      }
      outputs_.push_back(output);
    }
  }

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    std::array<float*, kMaxTileBases> bases;
    auto* memory = reinterpret_cast<float*>(scratch);
    bases[0] = memory;
    // Inputs and constants are only read: compiled steps write to scratch and outputs alone.
    bases[1] = const_cast<float*>(constants_.data());
    std::size_t next = 2;
    for (const std::size_t i : inputs_)
      bases[next++] = reinterpret_cast<float*>(const_cast<std::byte*>(in[i]));
    for (const Output& output : outputs_) {
      auto* to = reinterpret_cast<float*>(out[output.index]);
      if (to == nullptr && !output.is_sum) to = memory + output.fallback;
      if (to != nullptr && output.cleared > 0) std::memset(to, 0, output.cleared);
      bases[next++] = to;
    }
    for (const Call& call : calls_) {
      if (call.code != nullptr) {
        call.code(bases.data(), call.n, call.cols);
        continue;
      }
      float* dst = bases[call.dst_base] + call.dst_offset;
      const float* a = bases[call.a_base] + call.a_offset;
      if (call.fn != nullptr) {
        call.fn(dst, a, bases[call.b_base] + call.b_offset, bases[call.c_base] + call.c_offset,
                call.n);
      } else if (bases[call.dst_base] != nullptr) {  // a sum may have no taker
        call.row_fn(dst, a, call.n, call.cols);
      }
    }
  }

 private:
  struct Output {
    std::size_t index = 0;
    std::int64_t fallback = 0;
    bool is_sum = false;
    std::size_t cleared = 0;  // bytes to clear before additions into it
  };

  const std::vector<Call> calls_;
  const std::vector<std::shared_ptr<const void>> code_;  // that calls lead to
  const std::vector<float> constants_;
  std::vector<std::size_t> inputs_;
  std::vector<Output> outputs_;
};

// Appends the call that a step over so many columns is; false if it is none.
bool add_call(const TileProgram& program, const TileStep& step, std::int64_t cols,
              std::vector<Call>& calls) {
  Call call{.fn = step.fn,
            .code = step.code,
            .row_fn = step.row_fn,
            .dst_base = static_cast<std::uint32_t>(step.dst.base),
            .a_base = static_cast<std::uint32_t>(step.a.base),
            .b_base = static_cast<std::uint32_t>(step.b.base),
            .c_base = static_cast<std::uint32_t>(step.c.base),
            .dst_offset = step.dst.offset,
            .a_offset = step.a.offset,
            .b_offset = step.b.offset,
            .c_offset = step.c.offset};
  const auto into_sum = [&](const TileSum& sum, RowFn fn, std::int64_t height, std::int64_t width) {
    call.row_fn = fn;
    call.dst_base = static_cast<std::uint32_t>(program.base_of_output(sum.output));
    call.dst_offset = 0;
    call.n = size(height);
    call.cols = size(width);
  };
  switch (step.kind) {
    case Kind::elements:
      call.n = size(program.rows * cols);
      break;
    case Kind::rows:
      call.n = size(program.rows);
      break;
    case Kind::once:
      call.n = 1;
      break;
    case Kind::code:
    case Kind::row_op:
      call.n = size(program.rows);
      call.cols = size(cols);
      break;
    case Kind::sum_all: {
      const TileSum& sum = program.sums[size(step.index)];
      if (sum.block_rows < program.rows) return false;
      into_sum(sum, row_fns().sum, 1, program.rows * program.cols);
      break;
    }
    case Kind::sum_columns: {
      const TileSum& sum = program.sums[size(step.index)];
      if (sum.period_rows != 1 || sum.block_rows < program.rows || sum.flush_rows > 0) return false;
      into_sum(sum, row_fns().column_sum, program.rows, program.cols);
      break;
    }
    default:
      return false;
  }
  calls.push_back(call);
  return true;
}

}  // namespace

std::unique_ptr<Kernel> make_straight_kernel(const TileProgram& program) {
  if (!program.is_one_tile() || program.bases.size() > kMaxTileBases) return nullptr;
  std::vector<Call> calls;
  const auto add_all = [&](const std::vector<TileStep>& steps, std::int64_t cols) {
    return std::ranges::all_of(
        steps, [&](const TileStep& step) { return add_call(program, step, cols, calls); });
  };
  if (!add_all(program.prologue, program.cols)) return nullptr;
  for (const TileProgram::Phase& phase : program.phases) {
    if (!add_all(phase.row_steps, 1) || !add_all(phase.chunk_steps, program.cols)) return nullptr;
  }
  if (!add_all(program.tile_end, 1) || !add_all(program.run_end, 1)) return nullptr;
  return std::make_unique<StraightKernel>(program, std::move(calls));
}

}  // namespace mixflow
