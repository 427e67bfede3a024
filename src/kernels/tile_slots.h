// The tiles of a program in one compact buffer. Steps name slots by number while a program is made;
// in the end slots get offsets, those whose lives do not overlap the same ones.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/tile_program.h"

namespace mixflow {

class TileSlots {
 public:
  static constexpr std::int32_t kUnused = -1;  // base of an operand that a step does not have

  static bool is_slot(const TileRef& ref) { return ref.base == 0; }

  // keep: for the whole run, else from its first to its last step. All that are not kept have one
  // size.
  TileRef add(std::int64_t floats, bool keep);
  bool is_kept(const TileRef& slot) const {
    return slots_[static_cast<std::size_t>(slot.offset)].keep;
  }

  // Where tiles of that output go while it is null; other outputs share one place.
  void set_fallback(std::int32_t output_base, const TileRef& slot) {
    fallbacks_.emplace_back(output_base, slot);
  }

  // Replaces numbers by offsets and sets scratch_floats.
  void place(TileProgram& program);

 private:
  struct Slot {
    std::int64_t floats = 0;
    bool keep = false;
    std::int64_t offset = -1;
    std::int64_t last = -1;  // the last step that names it
  };

  Slot& slot(const TileRef& ref) { return slots_[static_cast<std::size_t>(ref.offset)]; }
  void find_lives(TileProgram& program);
  void take(Slot& slot);

  std::vector<Slot> slots_;
  std::vector<std::pair<std::int32_t, TileRef>> fallbacks_;
  std::vector<std::int64_t> free_;  // offsets
  std::int64_t end_ = 0;
};

}  // namespace mixflow
