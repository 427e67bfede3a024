#include "exec/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "kernels/team.h"
#include "util/failure.h"

namespace mixflow {
namespace {

std::int64_t pages(std::int64_t bytes) {
  static const std::int64_t page = sysconf(_SC_PAGESIZE);
  return std::max<std::int64_t>(1, (bytes + page - 1) / page) * page;
}

}  // namespace

Arena::Arena(std::int64_t bytes, Kind kind) : bytes_(bytes) {
  const auto size = static_cast<std::size_t>(pages(bytes));
  const int protection = kind == Kind::zeros ? PROT_READ : PROT_READ | PROT_WRITE;
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | (kind == Kind::zeros ? MAP_NORESERVE : 0);
  void* memory = mmap(nullptr, size, protection, flags, -1, 0);
  if (memory == MAP_FAILED) {
    throw MemoryError("cannot reserve " + std::to_string(bytes) +
                   " bytes of memory: use fewer inner steps, a smaller "
                   "batch or more rematerialisation (`mixflow plan` shows what needs it)");
  }
  data_ = static_cast<std::byte*>(memory);
  if (kind == Kind::zeros) return;
  // Huge pages only where a mapping has several: they would round small arenas up.
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  if (size >= 8 * kHuge) madvise(memory, size, MADV_HUGEPAGE);
  if (kind == Kind::touched) touch(1);
}

Arena::~Arena() { munmap(data_, static_cast<std::size_t>(pages(bytes_))); }

void Arena::touch(int threads) {
  if (touched_) return;
  constexpr std::int64_t kUnit = std::int64_t{2} << 20;  // huge pages have one node
  const std::int64_t size = pages(bytes_), units = (size + kUnit - 1) / kUnit;
  run_parts(threads, [&](int part) {
    const auto [first, last] = share_of(units, part, threads);
    touch_pages(data_ + first * kUnit, std::min(size, last * kUnit) - first * kUnit);
  });
  touched_ = true;
}

void touch_pages(std::byte* data, std::int64_t bytes) {
  constexpr std::int64_t kPage = 4096;
  volatile std::byte* at = data;
  for (std::int64_t i = 0; i < bytes; i += kPage) at[i] = std::byte{0};
  if (bytes > 0) at[bytes - 1] = std::byte{0};
}

void Arena::set_read_only(bool read_only) {
  mprotect(data_, static_cast<std::size_t>(pages(bytes_)),
           read_only ? PROT_READ : PROT_READ | PROT_WRITE);
}

}  // namespace mixflow
