// Lifetimes in, offsets out: packs the buffers of one body into its workspace.
#pragma once

#include <cstdint>
#include <vector>

namespace mixflow {

// A piece of memory that is needed from the node at position `start` to the one at `end`, both
// included.
struct Storage {
  std::int64_t bytes = 0;
  std::int32_t start = 0;
  std::int32_t end = 0;
  std::int64_t offset = -1;  // result
};

// Gives every storage an offset such that no two that live at once overlap, and returns the
// workspace size: the largest offset + bytes. Several orders of first-fit are tried and the
// smallest result kept. Deterministic.
std::int64_t assign_offsets(std::vector<Storage>& storages);

}  // namespace mixflow
