// The compiled form of a fused kernel: straight lists of steps, run for each tile of the space. The
// space is seen as `rows` rows of `cols` columns; a tile is some whole rows, or a chunk of one row.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/kernel.h"
#include "kernels/tile_ops.h"

namespace mixflow {

// A place in memory: bases[base] + offset floats.
struct TileRef {
  std::int32_t base = 0;
  std::int64_t offset = 0;
};

// Several steps at once, over a tile of `rows` dense rows of `cols` floats; bases moved to the
// tile.
using TileCode = void (*)(float* const* bases, std::size_t rows, std::size_t cols);

struct TileStep {
  enum class Kind : std::uint8_t {
    elements,     // fn over all elements of the tile
    code,         // what was a run of steps before
    rows,         // fn over one element per row
    once,         // fn over one element
    row_op,       // row_fn over the tile
    load_rows,    // dst: the rows of base `index`, which lie apart
    reverse,      // dst: each `reversed` floats of a in the order of their rows turned around
    load_points,  // dst[r]: the element of base `index` at row r
    iota_cols,    // dst: the column
    iota_rows,    // dst[r]: the position along the axis iotas[index]
    sum_all,      // sums[index] += everything in the tile
    sum_columns,  // sums[index] += the rows of the tile
  };
  Kind kind = Kind::elements;
  TileOp op = TileOp::none;  // that fn computes, and which operands it takes as one float
  unsigned splats = kSplatNone;
  TileFn fn = nullptr;
  RowFn row_fn = nullptr;
  TileCode code = nullptr;
  TileRef dst, a, b, c;
  std::int32_t index = 0;
};

// Where steps find a buffer: its origin, moved to the tile. Base 0 is the scratch, base 1 the
// constants.
struct TileBase {
  enum class Kind : std::uint8_t { fixed, input, output };
  Kind kind = Kind::fixed;
  std::int32_t index = 0;
  std::int64_t row_stride = 0;
  std::int64_t col_stride = 0;
  struct Axis {
    std::int64_t size = 1;
    std::int64_t stride = 0;
  };
  std::vector<Axis> outer;    // if not empty: the axes that rows run over; row_stride is not used
  std::int64_t fallback = 0;  // outputs: where in the scratch a null output's tiles go

  std::int64_t row_offset(std::int64_t row) const {
    if (outer.empty()) return row * row_stride;
    std::int64_t offset = 0;
    for (std::size_t k = outer.size(); k-- > 0; row /= outer[k].size) {
      offset += row % outer[k].size * outer[k].stride;
    }
    return offset;
  }
};

// An output that is a sum over neighbouring axes. Rows come in blocks of `block_rows`, one per
// element of the kept axes before the reduced ones; in a block, row r adds to the `period_rows` x
// cols kept elements after them (inner_kept), or all of it to one element.
struct TileSum {
  std::int32_t output = 0;
  bool inner_kept = false;
  std::int64_t block_rows = 1;
  std::int64_t period_rows = 1;
  std::int64_t width = 1;     // elements per block
  std::int64_t elements = 1;  // of the output
  std::int64_t flush_rows =
      0;  // add up this many rows apart first, for accuracy; 0: into the result at once
  std::int64_t acc = 0;      // place of these partial sums in the scratch
  std::int64_t partial = 0;  // place of the sums of threads 1.. in their scratch
  std::int64_t total = 0;    // place of the double that adds up tiles (not inner_kept)
};

struct TileProgram {
  std::int64_t rows = 1, cols = 1;
  std::int64_t tile_rows = 1, chunk = 1;        // largest tile; tile_rows is 1 if chunk < cols
  std::int64_t reversed = 0, reversed_row = 0;  // floats that are reversed by rows of so many
  std::int64_t block_rows = 0;  // tiles do not cross multiples of this; 0: no such limit
  std::vector<TileBase> bases;
  std::vector<float> constants;
  std::vector<TileStep> prologue;  // once per run and thread, on tiles of full size
  // Per tile, phase by phase: first row_steps, then chunk_steps for each chunk of the row. Where
  // rows are longer than a tile, a phase is one sweep over the row that ends in the reductions that
  // the next phase needs.
  struct Phase {
    std::vector<TileStep> row_steps;
    std::vector<TileStep> chunk_steps;
  };
  std::vector<Phase> phases;
  std::vector<TileStep> tile_end;  // stores one element per row
  std::vector<TileStep> run_end;   // stores single elements
  struct Iota {
    std::int64_t stride = 1, size = 1;  // position = row / stride % size
  };
  std::vector<Iota> iotas;
  std::vector<TileSum> sums;
  std::vector<std::shared_ptr<const void>> code;  // that steps call
  std::int64_t scratch_floats = 0;                // per thread
  int threads = 1;                                // no more than there are units

  // What threads divide between them: rows (if there is but one, columns), in units that begin at
  // tiles, and where sums have several blocks, at blocks.
  bool by_rows() const { return rows > 1; }
  std::int64_t unit() const;
  std::int64_t units() const;

  // Whether the whole space is one tile of one thread.
  bool is_one_tile() const;
  // The base of an output, by the output's number.
  std::int32_t base_of_output(std::int32_t output) const;

  // All steps in the order in which they run.
  template <class F>
  void for_each_step(F visit) {
    for (TileStep& step : prologue) visit(step);
    for (Phase& phase : phases) {
      for (TileStep& step : phase.row_steps) visit(step);
      for (TileStep& step : phase.chunk_steps) visit(step);
    }
    for (TileStep& step : tile_end) visit(step);
    for (TileStep& step : run_end) visit(step);
  }
};

inline constexpr std::size_t kMaxTileBases = 160;
inline constexpr std::size_t kMaxTileSums = 32;

std::unique_ptr<Kernel> make_tile_kernel(TileProgram program);

}  // namespace mixflow
