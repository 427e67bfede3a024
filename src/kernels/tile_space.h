// A FusedSpec seen as rows and columns: axes of one element dropped, neighbours merged where no
// value tells them apart, and each value's level and stage known.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/fused.h"

namespace mixflow {

// What a value varies with, and so how often it is computed.
enum class TileLevel : std::uint8_t { uniform, row, element };

struct TileValue {
  AxisMask axes = 0;  // merged axes
  TileLevel level = TileLevel::uniform;
  int stage = 0;  // how many row reductions come before it, one after the other
  bool needed = false;
};

struct TileSpace {
  std::vector<std::int64_t>
      sizes;  // merged axes; the last is the columns, the others make the rows
  std::int64_t rows = 1, cols = 1;
  // Floats that reverse turns around, by rows of `reversed_row`; columns are a multiple. 0: none.
  std::int64_t reversed = 0, reversed_row = 0;
  // The spec's, with merged axes; sums over the columns alone are row reductions here.
  std::vector<FusedSpec::Operand> operands;
  std::vector<FusedSpec::Instr> instrs;
  std::vector<FusedSpec::Output> outputs;
  std::vector<TileValue> values;

  AxisMask inner() const { return AxisMask{1} << (sizes.size() - 1); }
  AxisMask outer() const { return inner() - 1; }
  AxisMask all() const { return outer() | inner(); }
  bool is_operand(std::int32_t value) const {
    return value < static_cast<std::int32_t>(operands.size());
  }
  const FusedSpec::Instr& instr(std::int32_t value) const {
    return instrs[static_cast<std::size_t>(value) - operands.size()];
  }
  const TileValue& value(std::int32_t id) const { return values[static_cast<std::size_t>(id)]; }
};

inline bool is_row_reduction(TileOp op) { return op == TileOp::sum || op == TileOp::max_reduce; }
inline bool is_source(TileOp op) { return op == TileOp::full || op == TileOp::iota; }

TileSpace make_tile_space(const FusedSpec& spec);

}  // namespace mixflow
