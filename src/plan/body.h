// What planning produces: for every body graph the order of its nodes, a place in memory for each
// value, and a kernel for each node. Places are relative to pointers that the body is given (its
// inputs, the destinations of its outputs, its workspace), so one planned body serves every
// iteration and every thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "graph/graph.h"
#include "kernels/kernel.h"

namespace mixflow {

// Buffers start at multiples of this many bytes.
inline constexpr std::int64_t kAlignment = 64;
inline std::int64_t aligned(std::int64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Where a value lives.
struct Place {
  enum class Kind : std::uint8_t {
    none,   // never stored: a dead result
    input,  // the body's input `index`
    slot,   // memory donated with input `index` (its own, once it has been read for the last time)
    dest,   // the destination of output `index`
    workspace,  // `offset` bytes into the body's workspace
    zeros,      // the shared read-only zeros: `full(0)` is never a buffer
  };
  Kind kind = Kind::none;
  std::int32_t index = 0;
  std::int64_t offset = 0;
};

struct Body;
using BodyPtr = std::shared_ptr<const Body>;

// Where a loop's carry is written. It is read where the iteration before wrote it, the first time
// from its init.
struct CarryPlan {
  enum class Kind : std::uint8_t {
    in_place,  // always the buffer of the final value
    stacked,   // the next slot of the stack of ys `partner`, which keeps the carries; at last the
               // final value's buffer, or nowhere if nobody reads it
    moving,    // the slice of xs `partner` that this iteration has read; at an edge the final
               // value's memory, or nowhere if nobody reads it
  };
  Kind kind = Kind::in_place;
  std::int32_t partner = -1;
  std::int64_t bytes = 0;
  bool dropped = false;  // the last iteration does not compute it, as nobody reads the final value
  std::int64_t private_offset =
      0;  // parallel: partial sums of threads 1.. start here in the parent's workspace
};

// How a loop finds the slices of a stacked operand: slice idx is at base + idx * stride - shift,
// but for the edge: a stack of carries begins with the loop's init, which is not stored twice.
struct StackPlan {
  std::int64_t stride = 0;
  std::int64_t shift = 0;  // stride if slice 0 is the edge (the buffer starts at slice 1), else 0
  std::int64_t edge_index = -1;  // -1: no edge
  Id edge = kNone;               // xs: the value of the parent that is the edge
  bool donated = false;  // xs: slices may be overwritten once read; the body gets them as slots
  std::int32_t over_xs =
      -1;  // ys: written over the slices of that donated xs; -1: into a buffer of its own
};

struct LoopPlan {
  std::shared_ptr<const Region> region;
  BodyPtr body;  // of the iterations before the last
  BodyPtr last;  // of the last one: `body`, or one whose outputs lack the carries that are dropped
  int threads =
      1;  // > 1: iterations are split over threads, each with its own workspace and partial sums
  std::int64_t workspace = 0;         // offset of the first thread's workspace in the parent's
  std::int64_t workspace_stride = 0;  // from one thread's to the next
  std::vector<CarryPlan> carries;
  std::vector<StackPlan> xs, ys;

  const Body& fullest() const;  // of `body` and `last`
};

// A range of the body's workspace, or a slot, that holds nothing any more.
struct Freed {
  Place place;
  std::int64_t bytes = 0;
};

struct Instr {
  std::int32_t node = -1;  // in the body's graph; its inputs and outputs are the operands
  std::shared_ptr<const Kernel> kernel;  // null for loops
  std::shared_ptr<const LoopPlan> loop;  // null for primitives
  std::int64_t scratch = 0;              // offset of the kernel's scratch in the workspace
  std::vector<Freed> freed;              // what may be poisoned after it (checked runs only)
};

// A result that could not be computed at its destination: copied there at the body's end.
struct EndCopy {
  Id from = kNone;
  std::int32_t output = 0;
  std::int64_t bytes = 0;
};

// What the caller promises about the pointers it gives.
struct InputContract {
  bool donated = false;  // a slot comes with it
};
struct OutputContract {
  std::int32_t in_place_of =
      -1;                     // may be the same memory as that input; otherwise distinct from all
  bool is_input = false;      // is always the memory of input `in_place_of`
  std::int32_t slot_of = -1;  // is the slot of that donated input
  bool nullable = false;      // the destination is null in some iterations: nothing is stored then
};

struct Live {
  std::string name;  // label and type of the value, or "scratch of ..."
  std::int64_t bytes = 0;
  std::int64_t offset = 0;
  std::string made_by;
  std::string last_read_by;
};

// Nodes whose labels begin alike: "unroll", "outer loss", "unroll bar" (its backward pass), ..
struct Phase {
  std::string name;
  std::int64_t peak_bytes = 0;  // alive at once while it runs
  std::int64_t kept_bytes = 0;  // made in it and last read by another phase
};

struct Body {
  GraphPtr graph;
  std::vector<Place> places;  // by value
  std::vector<Instr> instrs;
  // Inputs copied into the workspace before `end_copies` overwrite them, then copied from there.
  struct Staged {
    std::int32_t input = 0;
    std::int64_t offset = 0;
    std::int32_t output = 0;
    std::int64_t bytes = 0;
  };
  std::vector<Staged> staged;
  std::vector<EndCopy> end_copies;
  std::int64_t workspace_bytes = 0;  // nested workspaces included
  std::int64_t zeros_bytes = 0;      // largest `full(0)`, nested bodies included
  std::vector<Live> peak;            // what is alive when the workspace is fullest, largest first
  std::vector<Phase> phases;         // in the order in which they begin
  std::vector<std::int64_t> alive_bytes;  // of the workspace, while each of `instrs` runs
  std::int64_t flop = 0;                  // of one execution
};

inline const Body& LoopPlan::fullest() const {
  return last->workspace_bytes > body->workspace_bytes ? *last : *body;
}

}  // namespace mixflow
