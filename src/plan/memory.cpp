#include "plan/memory.h"

#include <algorithm>
#include <numeric>

#include "plan/body.h"

namespace mixflow {
namespace {

// Buffers of a multiple of 4 KiB would all start at the same offset modulo the page size, where
// loads and stores of different buffers falsely depend on each other; a few spare lines between
// them break the pattern.
std::int64_t padded(std::int64_t bytes) {
  const std::int64_t size = aligned(bytes);
  return size >= 4096 && size % 4096 == 0 ? size + 3 * kAlignment : size;
}

std::int64_t first_fit(std::vector<Storage>& storages, const std::vector<std::size_t>& order) {
  std::int64_t total = 0;
  std::vector<std::size_t> placed;  // by offset
  for (const std::size_t i : order) {
    Storage& storage = storages[i];
    std::int64_t offset = 0;
    for (const std::size_t p : placed) {
      const Storage& other = storages[p];
      if (other.end < storage.start || storage.end < other.start) continue;
      if (offset + padded(storage.bytes) <= other.offset) break;
      offset = std::max(offset, other.offset + padded(other.bytes));
    }
    storage.offset = offset;
    total = std::max(total, offset + storage.bytes);
    const auto after = std::upper_bound(
        placed.begin(), placed.end(), i,
        [&](std::size_t a, std::size_t b) { return storages[a].offset < storages[b].offset; });
    placed.insert(after, i);
  }
  return total;
}

}  // namespace

std::int64_t assign_offsets(std::vector<Storage>& storages) {
  std::vector<std::size_t> order(storages.size());
  std::int64_t best_total = -1;
  std::vector<Storage> best;
  const auto attempt = [&](auto before) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return before(storages[a], storages[b]);
    });
    const std::int64_t total = first_fit(storages, order);
    if (best_total < 0 || total < best_total) {
      best_total = total;
      best = storages;
    }
  };
  attempt([](const Storage& a, const Storage& b) { return a.bytes > b.bytes; });
  attempt([](const Storage& a, const Storage& b) { return a.start < b.start; });
  attempt([](const Storage& a, const Storage& b) {
    const auto area = [](const Storage& s) {
      return static_cast<double>(s.bytes) * (s.end - s.start + 1);
    };
    return area(a) > area(b);
  });
  storages = std::move(best);
  return std::max<std::int64_t>(best_total, 0);
}

}  // namespace mixflow
