// One instance of a planned body: its workspace, and the pointers of all its operands, bound in
// advance. Internal to exec/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "exec/trace.h"
#include "exec/watch.h"
#include "plan/body.h"

namespace mixflow {

// What all frames of an executor share.
struct FrameContext {
  const std::byte* zeros = nullptr;
  bool poison = false;  // fill what holds nothing with NaN, from the start of each body's run
  // While measuring, the highest end of any range handed to a kernel, relative to the arena.
  bool measuring = false;
  const std::byte* arena = nullptr;
  std::int64_t arena_bytes = 0;
  Trace* trace = nullptr;           // where every instruction leaves a span, or null
  NonFiniteWatch* watch = nullptr;  // looks at what every kernel writes, or null
};

class Frame {
 public:
  // `thread` runs it, inside `depth` loops.
  Frame(BodyPtr body, std::byte* workspace, const FrameContext& context, std::size_t thread = 0,
        std::uint32_t depth = 0);
  ~Frame();
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  void bind_input(std::size_t i, std::byte* pointer) { bind(i, pointer); }
  void bind_slot(std::size_t i, std::byte* pointer) { bind(inputs_ + i, pointer); }
  void bind_output(std::size_t k, std::byte* pointer) { bind(2 * inputs_ + k, pointer); }
  // Faults in what each thread has of the workspace for itself, on that thread.
  void touch();
  void run();

  std::int64_t peak() const;  // measured, nested frames included

 private:
  // What running an instruction takes, side by side.
  struct Step {
    const Kernel* kernel = nullptr;  // null: a loop
    std::uint32_t in = 0, out = 0;   // first cell of its operands
    std::byte* scratch = nullptr;
  };
  class LoopRun;

  // Externals are numbered inputs, slots, outputs; each has the cells that hold it.
  void bind(std::size_t external, std::byte* pointer) {
    for (std::uint32_t c = first_[external]; c < first_[external + 1]; ++c)
      cells_[cell_of_[c]] = pointer;
  }
  std::byte* cell(Id value) const { return cells_[value_cell_[static_cast<std::size_t>(value)]]; }
  void run_step(std::size_t i, std::byte** cells);
  void run_watched();
  void run_traced(std::size_t i);
  void run_for_watch(std::size_t i);
  void finish();
  void poison(const Instr& instr);
  void measure(std::size_t i);
  void measure(const std::byte* pointer, std::int64_t bytes);

  const BodyPtr body_;
  std::byte* const workspace_;
  const FrameContext& context_;
  const std::size_t thread_;
  const std::uint32_t depth_;
  const std::size_t inputs_;
  std::vector<std::byte*> cells_;
  std::vector<std::uint32_t> first_, cell_of_;  // external -> its cells
  std::vector<std::uint32_t> value_cell_;       // one cell per value, then one per operand
  std::size_t output_cells_ = 0;                // first of the cells that hold the destinations
  std::size_t slot_cells_ = 0;
  std::vector<Step> steps_;
  std::vector<std::unique_ptr<LoopRun>> loops_;
  std::int64_t peak_ = 0;
};

}  // namespace mixflow
