// Cores and memory of this machine, shared out to points by their plans.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sweep/point.h"

namespace mixflow {

// What a running point takes.
struct RoomUse {
  int threads = 0;
  std::vector<int> cpus;  // its own; empty where a container's quota counts and not which CPUs
  std::int64_t bytes = 0;
};

class Room {
 public:
  // `memory_bytes` for all points together.
  explicit Room(std::int64_t memory_bytes);
  // With given cores, for tests.
  Room(std::int64_t memory_bytes, int cores, std::vector<int> cpus);

  // The point alone on this machine.
  bool fits_alone(const Point& point) const { return point.process_bytes <= memory_bytes_; }
  // What the point would take beside the others; nothing where it has to wait. A point of more
  // threads than there are cores runs alone.
  std::optional<RoomUse> place(const Point& point, std::span<const RoomUse> others) const;

  std::int64_t memory_bytes() const { return memory_bytes_; }

 private:
  std::int64_t memory_bytes_;
  int cores_;
  std::vector<int> cpus_;  // one of each core; empty: see RoomUse
};

// Processes with the same scope share the memory that this one may use.
std::string memory_scope();

// The most data that a point's process may have: `given`, or where that is 0 its planned bytes with
// a margin for the process itself, thread stacks and reading data files.
std::int64_t memory_limit(const Point& point, std::int64_t given);

}  // namespace mixflow
