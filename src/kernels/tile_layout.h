// How a space is cut into tiles, where its buffers lie, and how its sums are added up: everything
// of a program but its steps.
#pragma once

#include "kernels/tile_program.h"
#include "kernels/tile_space.h"

namespace mixflow {

inline constexpr std::int64_t kTileElements = 512;

// resident: tiles hold rows whole where rows are reduced. Bases are numbered: 2, 3, .. the
// operands, then the outputs.
TileProgram lay_out_tiles(const TileSpace& space, int threads, bool resident);

// Takes the memory for sums at the end of the scratch.
void place_tile_sums(TileProgram& program);

}  // namespace mixflow
