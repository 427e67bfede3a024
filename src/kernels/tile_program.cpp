#include "kernels/tile_program.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "kernels/team.h"
#include "kernels/tile_straight.h"
#include "util/error.h"

namespace mixflow {
namespace {

using Kind = TileStep::Kind;

// Part of the space: whole rows, or columns of the only row.
struct Range {
  std::int64_t row_begin, row_end;
  std::int64_t col_begin, col_end;
};

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

class Runner {
 public:
  Runner(const TileProgram& program, const RowFns& rows, TileFn add, const std::byte* const* in,
         std::byte* const* out, float* scratch, bool first)
      : program_(program), row_fns_(rows), add_(add), out_(out), scratch_(scratch), first_(first) {
    bases_[0] = scratch;
    // Inputs and constants are only read: compiled steps write to scratch and outputs alone.
    bases_[1] = const_cast<float*>(program.constants.data());
    for (std::size_t i = 2; i < program.bases.size(); ++i) {
      const TileBase& base = program.bases[i];
      const std::byte* buffer =
          base.kind == TileBase::Kind::input ? in[base.index] : out[base.index];
      origins_[i] = reinterpret_cast<float*>(const_cast<std::byte*>(buffer));
      bases_[i] = origins_[i] != nullptr ? origins_[i] : scratch + base.fallback;
    }
  }

  void run(const Range& range) {
    for (const TileStep& step : program_.prologue)
      execute(step, 0, program_.tile_rows, 0, program_.chunk);
    std::int64_t rows = 0;
    for (std::int64_t row = range.row_begin; row < range.row_end; row += rows) {
      rows = std::min(program_.tile_rows, range.row_end - row);
      if (program_.block_rows > 0)
        rows = std::min(rows, program_.block_rows - row % program_.block_rows);
      begin_sums(row, range);
      run_tile(row, rows, range);
      end_sums(row + rows, rows, range);
    }
    if (first_) execute_all(program_.run_end, 0, 1, 0, 1);
  }

 private:
  void run_tile(std::int64_t row, std::int64_t rows, const Range& range) {
    for (const TileProgram::Phase& phase : program_.phases) {
      move_to(row, range.col_begin);
      execute_all(phase.row_steps, row, rows, 0, 1);
      if (phase.chunk_steps.empty()) continue;
      std::int64_t col = range.col_begin;
      do {  // once for rows without columns too: their reductions have results
        const std::int64_t cols = std::min(program_.chunk, range.col_end - col);
        if (col > range.col_begin) move_to(row, col);
        execute_all(phase.chunk_steps, row, rows, col, cols);
        col += program_.chunk;
      } while (col < range.col_end);
    }
    execute_all(program_.tile_end, row, rows, 0, 1);
  }

  void move_to(std::int64_t row, std::int64_t col) {
    for (std::size_t i = 2; i < program_.bases.size(); ++i) {
      if (origins_[i] == nullptr) continue;
      const TileBase& base = program_.bases[i];
      bases_[i] = origins_[i] + base.row_offset(row) + col * base.col_stride;
    }
  }

  float* at(const TileRef& ref) const { return bases_[size(ref.base)] + ref.offset; }

  void execute_all(const std::vector<TileStep>& steps, std::int64_t row, std::int64_t rows,
                   std::int64_t col, std::int64_t cols) {
    for (const TileStep& step : steps) execute(step, row, rows, col, cols);
  }

  void execute(const TileStep& step, std::int64_t row, std::int64_t rows, std::int64_t col,
               std::int64_t cols) {
    switch (step.kind) {
      case Kind::elements:
        step.fn(at(step.dst), at(step.a), at(step.b), at(step.c), size(rows * cols));
        break;
      case Kind::code:
        step.code(bases_.data(), size(rows), size(cols));
        break;
      case Kind::rows:
        step.fn(at(step.dst), at(step.a), at(step.b), at(step.c), size(rows));
        break;
      case Kind::once:
        step.fn(at(step.dst), at(step.a), at(step.b), at(step.c), 1);
        break;
      case Kind::row_op:
        step.row_fn(at(step.dst), at(step.a), size(rows), size(cols));
        break;
      case Kind::load_rows: {
        const TileBase& base = program_.bases[size(step.index)];
        for (std::int64_t r = 0; r < rows; ++r) {
          const float* from =
              origins_[size(step.index)] + base.row_offset(row + r) + col * base.col_stride;
          std::memcpy(at(step.dst) + r * cols, from, size(cols) * sizeof(float));
        }
        break;
      }
      case Kind::reverse:
        reverse(at(step.dst), at(step.a), rows * cols);
        break;
      case Kind::load_points: {
        const TileBase& base = program_.bases[size(step.index)];
        for (std::int64_t r = 0; r < rows; ++r) {
          at(step.dst)[r] = origins_[size(step.index)][base.row_offset(row + r)];
        }
        break;
      }
      case Kind::iota_cols:
        row_fns_.iota(at(step.dst), col, size(rows), size(cols));
        break;
      case Kind::iota_rows: {
        const TileProgram::Iota& iota = program_.iotas[size(step.index)];
        for (std::int64_t r = 0; r < rows; ++r) {
          at(step.dst)[r] = static_cast<float>((row + r) / iota.stride % iota.size);
        }
        break;
      }
      case Kind::sum_all: {
        float sum = 0;
        row_fns_.sum(&sum, at(step.a), 1, size(rows * cols));
        *total(program_.sums[size(step.index)]) += static_cast<double>(sum);
        break;
      }
      case Kind::sum_columns:
        sum_columns(program_.sums[size(step.index)], sum_targets_[size(step.index)], at(step.a),
                    row, rows, col, cols);
        break;
    }
  }

  void reverse(float* to, const float* from, std::int64_t n) const {
    const std::int64_t block = program_.reversed, row = program_.reversed_row;
    for (std::int64_t first = 0; first < n; first += block) {
      for (std::int64_t k = 0; k < block; k += row) {
        std::memcpy(to + first + k, from + first + block - row - k, size(row) * sizeof(float));
      }
    }
  }

  void sum_columns(const TileSum& sum, float* target, const float* tile, std::int64_t row,
                   std::int64_t rows, std::int64_t col, std::int64_t cols) {
    if (target == nullptr) return;
    if (sum.period_rows == 1) {
      row_fns_.column_sum(target + col, tile, size(rows), size(cols));
      return;
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      float* to = target + (row + r) % sum.period_rows * program_.cols + col;
      add_(to, to, tile + r * cols, nullptr, size(cols));
    }
  }

  double* total(const TileSum& sum) const {
    return reinterpret_cast<double*>(scratch_ + sum.total);
  }

  // Where the sums of the block that `row` is in go: threads other than the first keep them apart,
  // unless their blocks are theirs alone.
  float* result(const TileSum& sum, std::int64_t row) const {
    auto* out = reinterpret_cast<float*>(out_[sum.output]);
    if (out == nullptr) return nullptr;
    if (!first_ && sum.block_rows == program_.rows) return scratch_ + sum.partial;
    return out + row / sum.block_rows * sum.width;
  }

  void begin_sums(std::int64_t row, const Range& range) {
    for (std::size_t s = 0; s < program_.sums.size(); ++s) {
      const TileSum& sum = program_.sums[s];
      if (row % sum.block_rows != 0 && row != range.row_begin) continue;
      pending_rows_[s] = 0;
      if (!sum.inner_kept) {
        *total(sum) = 0;
        continue;
      }
      float* to = result(sum, row);
      sum_targets_[s] = to;
      if (to == nullptr) continue;
      std::memset(to, 0, size(sum.width) * sizeof(float));
      if (sum.flush_rows == 0) continue;
      sum_targets_[s] = scratch_ + sum.acc;
      std::memset(sum_targets_[s], 0, size(sum.width) * sizeof(float));
    }
  }

  void end_sums(std::int64_t row_end, std::int64_t rows, const Range& range) {
    for (std::size_t s = 0; s < program_.sums.size(); ++s) {
      const TileSum& sum = program_.sums[s];
      pending_rows_[s] += rows;
      const bool last = row_end % sum.block_rows == 0 || row_end == range.row_end;
      float* to = result(sum, row_end - rows);
      if (to == nullptr) continue;
      if (!sum.inner_kept) {
        // The only block of several threads is finished by combine().
        if (last) *to = static_cast<float>(*total(sum));
        continue;
      }
      if (sum.flush_rows == 0 || (!last && pending_rows_[s] < sum.flush_rows)) continue;
      add_(to, to, sum_targets_[s], nullptr, size(sum.width));
      std::memset(sum_targets_[s], 0, size(sum.width) * sizeof(float));
      pending_rows_[s] = 0;
    }
  }

  const TileProgram& program_;
  const RowFns& row_fns_;
  const TileFn add_;
  std::byte* const* out_;
  float* scratch_;
  const bool first_;
  std::array<float*, kMaxTileBases> bases_;
  std::array<float*, kMaxTileBases> origins_;
  std::array<float*, kMaxTileSums> sum_targets_;
  std::array<std::int64_t, kMaxTileSums> pending_rows_;
};

class TileKernel final : public Kernel {
 public:
  explicit TileKernel(TileProgram program)
      : Kernel(program.threads * program.scratch_floats * static_cast<std::int64_t>(sizeof(float))),
        program_(std::move(program)),
        row_fns_(row_fns()),
        add_(tile_fn(TileOp::add, kSplatNone)) {
    MIXFLOW_CHECK(program_.bases.size() <= kMaxTileBases && program_.sums.size() <= kMaxTileSums,
                  "fused kernel with too many operands");
  }

  void run(const std::byte* const* in, std::byte* const* out, std::byte* scratch) const override {
    auto* memory = reinterpret_cast<float*>(scratch);
    run_parts(program_.threads,
              [&](int t) { run_part(t, in, out, memory + t * program_.scratch_floats); });
    if (program_.threads > 1) combine(out, memory);
    if (program_.rows == 0) clear_sums(out);
  }

 private:
  // Part t of the space: some whole units.
  Range part(int t) const {
    const std::int64_t threads = program_.threads;
    if (threads == 1) return {0, program_.rows, 0, program_.cols};
    const std::int64_t length = program_.by_rows() ? program_.rows : program_.cols;
    const auto [first, last] = share_of(program_.units(), t, threads);
    const std::int64_t begin = std::min(length, first * program_.unit());
    const std::int64_t end = std::min(length, last * program_.unit());
    if (program_.by_rows()) return {begin, end, 0, program_.cols};
    return {0, 1, begin, end};
  }

  void run_part(int t, const std::byte* const* in, std::byte* const* out, float* scratch) const {
    Runner(program_, row_fns_, add_, in, out, scratch, t == 0).run(part(t));
  }

  // Adds what threads 1.. have summed apart, in their order.
  void combine(std::byte* const* out, float* memory) const {
    for (const TileSum& sum : program_.sums) {
      auto* to = reinterpret_cast<float*>(out[sum.output]);
      if (to == nullptr || sum.block_rows != program_.rows) continue;
      double total = 0;
      for (int t = 0; t < program_.threads; ++t) {
        float* scratch = memory + t * program_.scratch_floats;
        total += *reinterpret_cast<double*>(scratch + sum.total);
        if (!sum.inner_kept || t == 0) continue;
        add_(to, to, scratch + sum.partial, nullptr, size(sum.width));
      }
      if (!sum.inner_kept) *to = static_cast<float>(total);
    }
  }

  // No tile has written them.
  void clear_sums(std::byte* const* out) const {
    for (const TileSum& sum : program_.sums) {
      if (out[sum.output] == nullptr) continue;
      std::memset(out[sum.output], 0, size(sum.elements) * sizeof(float));
    }
  }

  const TileProgram program_;
  const RowFns& row_fns_;
  const TileFn add_;
};

}  // namespace

std::int64_t TileProgram::unit() const {
  if (!by_rows()) return chunk;
  std::int64_t unit = tile_rows;
  for (const TileSum& sum : sums) {
    if (sum.block_rows < rows) unit = std::max(unit, sum.block_rows);
  }
  return unit;
}

std::int64_t TileProgram::units() const {
  return ((by_rows() ? rows : cols) + unit() - 1) / unit();
}

bool TileProgram::is_one_tile() const {
  return threads == 1 && rows > 0 && cols > 0 && rows <= tile_rows && cols <= chunk &&
         (block_rows == 0 || block_rows >= rows);
}

std::int32_t TileProgram::base_of_output(std::int32_t output) const {
  const auto found = std::ranges::find_if(bases, [&](const TileBase& base) {
    return base.kind == TileBase::Kind::output && base.index == output;
  });
  return static_cast<std::int32_t>(found - bases.begin());
}

std::unique_ptr<Kernel> make_tile_kernel(TileProgram program) {
  if (auto straight = make_straight_kernel(program)) return straight;
  return std::make_unique<TileKernel>(std::move(program));
}

}  // namespace mixflow
