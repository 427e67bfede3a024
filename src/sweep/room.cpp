#include "sweep/room.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "kernels/cpu.h"
#include "sweep/claim.h"
#include "util/hash.h"
#include "util/memory.h"

namespace mixflow {
namespace {

// One CPU of each core, unless a quota lets fewer cores be used than there are: then which ones is
// the system's choice.
std::vector<int> own_cpus() {
  const std::vector<int>& all = usable_cpus();
  const auto cores = static_cast<std::size_t>(usable_cores());
  if (cores < static_cast<std::size_t>(physical_cores())) return {};
  return {all.begin(), all.begin() + static_cast<std::ptrdiff_t>(cores)};
}

}  // namespace

Room::Room(std::int64_t memory_bytes) : Room(memory_bytes, usable_cores(), own_cpus()) {}

Room::Room(std::int64_t memory_bytes, int cores, std::vector<int> cpus)
    : memory_bytes_(memory_bytes), cores_(cores), cpus_(std::move(cpus)) {}

std::optional<RoomUse> Room::place(const Point& point, std::span<const RoomUse> others) const {
  std::int64_t used_bytes = 0;
  int used_cores = 0;
  std::vector<int> free = cpus_;
  for (const RoomUse& other : others) {
    used_bytes += other.bytes;
    int mine = 0;
    for (const int cpu : other.cpus) mine += static_cast<int>(std::erase(free, cpu));
    used_cores += other.cpus.empty() ? other.threads : mine;
  }
  const bool enough_cores = used_cores + point.threads <= cores_ || used_cores == 0;
  if (used_bytes + point.process_bytes > memory_bytes_ || !enough_cores) return std::nullopt;
  RoomUse use{.threads = point.threads, .bytes = point.process_bytes};
  const auto threads = static_cast<std::size_t>(point.threads);
  if (free.size() >= threads) use.cpus.assign(free.begin(), free.begin() + point.threads);
  return use;
}

std::string memory_scope() {
  if (group_memory_bytes() >= ram_bytes()) return this_process().boot;
  std::ostringstream groups;
  groups << std::ifstream("/proc/self/cgroup").rdbuf();
  return this_process().boot + " " + std::to_string(hash_of(groups.str()));
}

std::int64_t memory_limit(const Point& point, std::int64_t given) {
  if (given > 0) return given;
  constexpr std::int64_t kMargin = std::int64_t{256} << 20;
  constexpr std::int64_t kStack = std::int64_t{8} << 20;
  return point.process_bytes + point.process_bytes / 4 + point.data_bytes + kMargin +
         kStack * point.threads;
}

}  // namespace mixflow
