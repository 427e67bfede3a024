#include "util/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <string>
#include <utility>

#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

// The smallest number in `name` of the directories from root + group up to root. "max", and files
// that are not there, are no limit.
std::int64_t lowest_limit(const std::string& root, std::string group, const std::string& name,
                          std::int64_t limit) {
  for (;;) {
    std::ifstream file(root + group + "/" + name);
    std::int64_t bytes = 0;
    if (file >> bytes && bytes > 0) limit = std::min(limit, bytes);
    if (group.empty() || group == "/") return limit;
    group.resize(group.find_last_of('/'));
  }
}

}  // namespace

std::int64_t ram_bytes() {
  return std::int64_t{sysconf(_SC_PHYS_PAGES)} * std::int64_t{sysconf(_SC_PAGESIZE)};
}

std::int64_t group_memory_bytes() {
  std::int64_t limit = ram_bytes();
  std::ifstream groups("/proc/self/cgroup");  // "0::/group" or "4:memory:/group"
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controller = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controller.empty()) limit = lowest_limit("/sys/fs/cgroup", group, "memory.max", limit);
    if (controller == "memory") {
      limit = lowest_limit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes", limit);
    }
  }
  return limit;
}

std::int64_t usable_memory_bytes() {
  std::int64_t limit = group_memory_bytes();
  for (const auto resource : {RLIMIT_DATA, RLIMIT_AS}) {
    rlimit own{};
    if (getrlimit(resource, &own) != 0 || own.rlim_cur == RLIM_INFINITY) continue;
    limit = std::min(limit, static_cast<std::int64_t>(std::min<rlim_t>(own.rlim_cur, INT64_MAX)));
  }
  return limit;
}

std::int64_t parse_memory(std::string_view text, std::int64_t whole, std::string_view where) {
  static constexpr std::array<std::pair<std::string_view, double>, 6> kUnits = {
      {{"B", 0x1p0}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}, {"%", 0}}};
  double number = 0;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number);
  std::string_view unit(result.ptr, static_cast<std::size_t>(end - result.ptr));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  const auto* known = std::ranges::find(kUnits, unit, &std::pair<std::string_view, double>::first);
  double bytes = 0;
  if (result.ec == std::errc() && known != kUnits.end()) {
    bytes = number * (unit == "%" ? static_cast<double>(whole) / 100 : known->second);
  }
  if (!(bytes >= 1 && bytes < 0x1p63)) {
    throw UserError(std::string(where) +
                    ": expected an amount of memory with its unit (B, KiB, MiB, GiB, TiB) or a "
                    "share of it, such as 12GiB or 80%, got " +
                    in_quotes(text));
  }
  return static_cast<std::int64_t>(bytes);
}

BinaryUnit binary_unit(double bytes) {
  static constexpr std::array<const char*, 5> kNames = {"B", "KiB", "MiB", "GiB", "TiB"};
  BinaryUnit unit;
  for (std::size_t i = 1; i < kNames.size() && bytes >= 1024 * unit.size; ++i) {
    unit = {unit.size * 1024, kNames[i]};
  }
  return unit;
}

std::string format_bytes(std::int64_t bytes) {
  const auto value = static_cast<double>(bytes);
  const BinaryUnit unit = binary_unit(value);
  return formatted(unit.size == 1 ? "%.0f %s" : "%.1f %s", value / unit.size, unit.name);
}

}  // namespace mixflow
