// Machine code for runs of arithmetic steps, on CPUs with AVX-512: one loop over the tile in which
// what passes from step to step stays in registers, where each step alone would load and store
// every value. The same operations in the same order on each element, so the same bits; sums alone
// have another order, always the same.
#pragma once

#include "kernels/tile_program.h"

namespace mixflow {

// Replaces runs of two and more steps by one of Kind::code, and drops what only these read: rows of
// a tile that repeat one row. Leaves all as it is where the instruction set that is chosen for
// kernels has no AVX-512, and where the system gives no memory for code.
void compile_runs(TileProgram& program);

}  // namespace mixflow
