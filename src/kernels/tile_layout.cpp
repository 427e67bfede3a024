#include "kernels/tile_layout.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "util/error.h"

namespace mixflow {
namespace {

constexpr std::int64_t kOneTileElements = 2048;  // spaces up to this are one tile
constexpr std::int64_t kParallelElements = 64 * 1024;
constexpr std::int64_t kFlushRows = 64;

std::int64_t divide_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t round_up(std::int64_t a, std::int64_t b) { return divide_up(a, b) * b; }

void add_sums(const TileSpace& space, TileProgram& program) {
  for (std::size_t j = 0; j < space.outputs.size(); ++j) {
    const auto& output = space.outputs[j];
    if (!output.sum) continue;
    TileSum sum{.output = static_cast<std::int32_t>(j)};
    sum.inner_kept = (output.axes & space.inner()) != 0;
    int turns = 0;  // kept, reduced, kept: at most two changes
    bool kept = true;
    for (std::size_t k = 0; k < space.sizes.size(); ++k) {
      const bool now = ((output.axes >> k) & 1u) != 0;
      if (now != kept) ++turns;
      kept = now;
      const bool is_outer = k + 1 < space.sizes.size();
      if (turns >= 1 && is_outer) sum.block_rows *= space.sizes[k];
      if (turns == 2 && is_outer) sum.period_rows *= space.sizes[k];
      if (now) sum.elements *= space.sizes[k];
    }
    MIXFLOW_CHECK(turns <= 2, "fused sum over axes that are not neighbours");
    if (sum.inner_kept) sum.width = sum.period_rows * space.cols;
    program.sums.push_back(sum);
  }
}

bool has_row_reductions(const TileSpace& space) {
  for (std::size_t i = 0; i < space.instrs.size(); ++i) {
    if (is_row_reduction(space.instrs[i].op) && space.values[space.operands.size() + i].needed)
      return true;
  }
  return false;
}

void choose_tile(const TileSpace& space, int threads, bool resident, TileProgram& program) {
  program.rows = space.rows;
  program.cols = space.cols;
  program.reversed = space.reversed;
  program.reversed_row = space.reversed_row;
  std::int64_t limit = std::max<std::int64_t>(1, space.rows);
  for (const TileSum& sum : program.sums) {
    if (sum.block_rows < space.rows)
      limit = std::min(limit, std::max<std::int64_t>(1, sum.block_rows));
  }
  if (limit < space.rows) program.block_rows = limit;
  const std::int64_t cols = std::max<std::int64_t>(1, space.cols);
  const bool whole = has_row_reductions(space) && resident;
  const std::int64_t step = space.reversed > 0 ? std::lcm(std::int64_t{16}, space.reversed) : 16;
  const std::int64_t even = round_up(divide_up(cols, divide_up(cols, kTileElements)), step);
  program.chunk = whole || limit * cols <= kOneTileElements ? cols : std::min(cols, even);
  program.tile_rows = 1;
  if (program.chunk == cols) {
    const std::int64_t fit =
        limit * cols <= kOneTileElements ? limit : std::clamp(kTileElements / cols, {1}, limit);
    program.tile_rows = divide_up(limit, divide_up(limit, fit));
  }
  const bool divisible = program.by_rows() || !has_row_reductions(space);
  if (threads > 1 && divisible && space.rows * space.cols >= kParallelElements) {
    program.threads = static_cast<int>(std::min<std::int64_t>(threads, program.units()));
  }
  for (TileSum& sum : program.sums) {
    const std::int64_t additions = sum.block_rows / std::max<std::int64_t>(1, sum.period_rows);
    if (sum.inner_kept && additions > kFlushRows * (sum.period_rows == 1 ? program.tile_rows : 1)) {
      sum.flush_rows = kFlushRows * std::max(program.tile_rows, sum.period_rows);
    }
  }
}

void add_bases(const TileSpace& space, TileProgram& program) {
  program.bases.resize(2);
  for (const auto& operand : space.operands) {
    TileBase base{.kind = TileBase::Kind::input, .index = operand.input};
    base.col_stride = (operand.axes & space.inner()) != 0 ? 1 : 0;
    std::int64_t stride = base.col_stride == 1 ? space.cols : 1;
    const AxisMask outer = operand.axes & space.outer();
    if (outer == space.outer()) {
      base.row_stride = stride;
    } else if (outer != 0) {
      base.outer.resize(space.sizes.size() - 1);
      for (std::size_t k = base.outer.size(); k-- > 0;) {
        const bool kept = ((outer >> k) & 1u) != 0;
        base.outer[k] = {space.sizes[k], kept ? stride : 0};
        if (kept) stride *= space.sizes[k];
      }
    }
    program.bases.push_back(std::move(base));
  }
  for (std::size_t j = 0; j < space.outputs.size(); ++j) {
    TileBase base{.kind = TileBase::Kind::output, .index = static_cast<std::int32_t>(j)};
    const AxisMask axes = space.outputs[j].axes;
    if (axes == space.all()) {
      base.row_stride = space.cols;
      base.col_stride = 1;
    } else if (axes == space.outer()) {
      base.row_stride = 1;
    }
    program.bases.push_back(std::move(base));
  }
}

}  // namespace

TileProgram lay_out_tiles(const TileSpace& space, int threads, bool resident) {
  TileProgram program;
  add_sums(space, program);
  choose_tile(space, threads, resident, program);
  add_bases(space, program);
  return program;
}

void place_tile_sums(TileProgram& program) {
  const auto take = [&](std::int64_t floats) {
    const std::int64_t offset = program.scratch_floats;
    program.scratch_floats += round_up(floats, 16);
    return offset;
  };
  for (TileSum& sum : program.sums) {
    if (!sum.inner_kept) sum.total = take(2);
    if (sum.flush_rows > 0) sum.acc = take(sum.width);
    if (program.threads > 1 && sum.block_rows == program.rows) sum.partial = take(sum.width);
  }
}

}  // namespace mixflow
