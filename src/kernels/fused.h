// Fused kernels: a cluster of elementwise ops, broadcasts and reductions over one iteration space,
// run tile by tile so that intermediate values never leave L1. A FusedSpec says what is computed;
// make_fused compiles it once into a Kernel that goes through a short list of steps per tile (a
// call per op, or per run of ops that are machine code) and allocates nothing.
//
// Naive reference: each value as a full array over the space, in the order of the instructions.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/kernel.h"

namespace mixflow {

// Sets of axes of the space: bit k is axis k.
using AxisMask = std::uint32_t;
inline constexpr int kMaxFusedRank = 24;
inline constexpr std::int64_t kMostReversed = 512;

// Values are numbered: operands first, then one per instruction. All are functions of a point of
// the space; one that does not depend on an axis is broadcast along it by that alone (there is no
// broadcast instruction).
struct FusedSpec {
  std::vector<std::int64_t> space;  // row-major; empty: one point

  // A dense row-major buffer over the axes in `axes`. One input may be several operands.
  struct Operand {
    std::int32_t input = 0;
    AxisMask axes = 0;
  };
  std::vector<Operand> operands;

  // Elementwise ops, and: full (imm), iota (the position along `axis`), reverse (along the last but
  // one axis of the space), sum and max_reduce (over the last axis; the result depends on the other
  // axes only). Operands come earlier in the numbering. With reverse, no value tells the last two
  // axes apart, and together they have kMostReversed points at most.
  struct Instr {
    TileOp op = TileOp::none;
    std::int32_t a = -1, b = -1, c = -1;
    double imm = 0;
    std::int32_t axis = -1;
  };
  std::vector<Instr> instrs;

  // A dense buffer over `axes`. Not `sum`: the value, and then `axes` is all of the space, all but
  // its last axis, or none. `sum`: its sum over the other axes, which must be neighbours.
  struct Output {
    std::int32_t value = 0;
    AxisMask axes = 0;
    bool sum = false;
  };
  std::vector<Output> outputs;

  std::int32_t num_inputs = 0;
  int threads = 1;  // how many threads a run may use; 1: the calling thread only
};

// Which inputs each output's buffer may be: they are read at the very element that the output
// writes, and nowhere else. At most one output may take an input. Bit i is input i.
std::vector<std::uint32_t> fused_in_place(const FusedSpec& spec);

// f32. All outputs may be null in a run: they are not stored then. In-place runs give the same
// bits. With threads > 1 the work is divided by a fixed rule, so the bits depend on the number of
// threads but not on timing.
std::unique_ptr<Kernel> make_fused(const FusedSpec& spec);

// The steps of that kernel (tile_program.h) before runs of them become machine code (tile_code.h).
struct TileProgram fused_program(const FusedSpec& spec);

}  // namespace mixflow
