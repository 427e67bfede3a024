// The fast way through a fused kernel whose space is one tile: nothing moves, so the steps become
// calls on fixed offsets. Small models spend more time between such kernels' loops than in them.
#pragma once

#include <memory>

#include "kernels/kernel.h"
#include "kernels/tile_program.h"

namespace mixflow {

// A kernel that computes what make_tile_kernel's does, to the bit, or null if the program has more
// than one tile, several threads, or steps that depend on where the tile is.
std::unique_ptr<Kernel> make_straight_kernel(const TileProgram& program);

}  // namespace mixflow
