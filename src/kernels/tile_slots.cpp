#include "kernels/tile_slots.h"

#include <algorithm>
#include <array>

namespace mixflow {

// Whole cache lines and one more, so that slots do not meet at equal offsets modulo 4096.
TileRef TileSlots::add(std::int64_t floats, bool keep) {
  slots_.push_back({.floats = (floats + 15) / 16 * 16 + 16, .keep = keep});
  return {0, static_cast<std::int64_t>(slots_.size()) - 1};
}

void TileSlots::find_lives(TileProgram& program) {
  std::int64_t now = 0;
  program.for_each_step([&](const TileStep& step) {
    for (const TileRef& ref : {step.dst, step.a, step.b, step.c}) {
      if (is_slot(ref)) slot(ref).last = now;
    }
    ++now;
  });
}

void TileSlots::take(Slot& slot) {
  if (slot.keep || free_.empty()) {
    slot.offset = end_;
    end_ += slot.floats;
  } else {
    slot.offset = free_.back();
    free_.pop_back();
  }
}

void TileSlots::place(TileProgram& program) {
  const TileRef dump = add(program.tile_rows * program.chunk, true);
  find_lives(program);
  std::int64_t now = 0;
  program.for_each_step([&](const TileStep& step) {
    const auto take_dst = [&] {
      if (is_slot(step.dst) && slot(step.dst).offset < 0) take(slot(step.dst));
    };
    // Elementwise steps may write over an operand that dies with them; others may not.
    const bool over = step.kind == TileStep::Kind::elements;
    if (!over) take_dst();
    std::array<std::int64_t, 3> given{-1, -1, -1};
    std::size_t count = 0;
    for (const TileRef& ref : {step.a, step.b, step.c}) {
      if (!is_slot(ref) || slot(ref).keep || slot(ref).last != now) continue;
      if (std::ranges::find(given, ref.offset) != given.end()) continue;
      given[count++] = ref.offset;
      free_.push_back(slot(ref).offset);
    }
    if (over) take_dst();
    ++now;
  });
  for (Slot& slot : slots_) {
    if (slot.keep && slot.offset < 0) take(slot);
  }
  program.scratch_floats = end_;
  for (TileBase& base : program.bases) base.fallback = slot(dump).offset;
  for (const auto& [output, ref] : fallbacks_) {
    program.bases[static_cast<std::size_t>(output)].fallback = slot(ref).offset;
  }
  program.for_each_step([&](TileStep& step) {
    for (TileRef* ref : {&step.dst, &step.a, &step.b, &step.c}) {
      if (ref->base == kUnused) {
        *ref = {0, 0};
      } else if (is_slot(*ref)) {
        ref->offset = slot(*ref).offset;
      }
    }
  });
}

}  // namespace mixflow
