// Amounts of memory: of this machine, and as people write them. Linux.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mixflow {

// Physical memory of the machine.
std::int64_t ram_bytes();
// What this process and others of its control group may use of it together: less than all where
// the group, or one above it, has a limit (version 1 or 2).
std::int64_t group_memory_bytes();
// What this process may use: group_memory_bytes, or less by its own limits (ulimit -d, -v).
std::int64_t usable_memory_bytes();

// "12GiB", "500 MiB", "1.5TiB", "4096B", or "80%" of `whole`. UserError, starting with `where`, for
// anything else, for 0 and for more than 8 EiB.
std::int64_t parse_memory(std::string_view text, std::int64_t whole, std::string_view where);

// The unit, B to TiB, that an amount of bytes is best told in, and its size; B below 1 KiB.
struct BinaryUnit {
  double size = 1;
  const char* name = "B";
};
BinaryUnit binary_unit(double bytes);
// 12.3 KiB, 4.0 MiB.
std::string format_bytes(std::int64_t bytes);

}  // namespace mixflow
