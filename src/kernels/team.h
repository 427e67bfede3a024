// How threads share work. Work is cut into parts by its shape and the number of threads that are
// configured, so its bits depend on these alone. Who does a part is settled while it runs: the
// calling thread and the helpers that are awake take parts as they come. A helper that has no core
// takes none, and the calling thread does without it: on a busy machine threads cost little more
// time than one alone.
//
// Helpers wait for work by spinning, briefly, and then asleep. Where a helper is taken off its core
// inside a part, all wait for that part: after such losses the calling thread works alone for some
// time (team.cpp).
//
// What a part throws is thrown again on the calling thread once all parts are done: of several
// exceptions that of the lowest part.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace mixflow {

// Items [first, last) of n that are `part`'s: what is over goes to the first parts, one each.
inline std::pair<std::int64_t, std::int64_t> share_of(std::int64_t n, std::int64_t part,
                                                      std::int64_t parts) {
  const std::int64_t each = n / parts, over = n % parts;
  const auto first = [&](std::int64_t p) { return each * p + std::min(p, over); };
  return {first(part), first(part + 1)};
}

// One of several equal shares of anything.
struct Share {
  int index, count;

  std::int64_t longest(std::int64_t n) const { return (n + count - 1) / count; }
  // This share of n items.
  std::pair<std::int64_t, std::int64_t> of(std::int64_t n) const {
    return share_of(n, index, count);
  }
};

// From now on as many threads share work, the calling one included, or as many as usable_cores()
// and the system allow: results do not depend on it. Helpers compute in the calling thread's
// floating-point mode (float_mode.h). Allocates; nothing else here does.
void start_helpers(int threads);

// The same with no regard to the number of cores. For tests.
void start_helpers_anyway(int threads);

// How many threads share work, the calling one included.
int team_size();

namespace detail {
using DoPart = void (*)(const void* work, int part, int thread);
// do_part(work, part, thread) for all parts; `thread` < `threads` is no other's at the time.
void share_parts(int parts, int threads, DoPart do_part, const void* work);
}  // namespace detail

// The functions below do everything on the calling thread where there is but one thread, item or
// part, inside a part, and while another thread has the helpers.

// work(part) for parts 0 .. parts - 1 of work that was divided before.
template <class Work>
void run_parts(int parts, const Work& work) {
  if (parts <= 1) {
    for (int part = 0; part < parts; ++part) work(part);
    return;
  }
  const auto do_part = [](const void* w, int part, int) { (*static_cast<const Work*>(w))(part); };
  detail::share_parts(parts, parts, do_part, &work);
}

// work(item, thread) for items 0 .. count - 1; `thread` is less than `threads`, and no two run at a
// time that have the same. Which it is may differ from run to run.
template <class Work>
void share_items(int threads, std::int64_t count, const Work& work) {
  if (threads <= 1 || count <= 1) {
    for (std::int64_t item = 0; item < count; ++item) work(item, 0);
    return;
  }
  // A few parts for each thread, so that those who are there can do the work of one who is not.
  constexpr std::int64_t kPartsEach = 4;
  struct Items {
    const Work& work;
    std::int64_t count;
    int parts;
  };
  const Items items{work, count, static_cast<int>(std::min(count, kPartsEach * threads))};
  const auto do_part = [](const void* w, int part, int thread) {
    const auto& all = *static_cast<const Items*>(w);
    const auto [first, last] = share_of(all.count, part, all.parts);
    for (std::int64_t item = first; item < last; ++item) all.work(item, thread);
  };
  detail::share_parts(items.parts, threads, do_part, &items);
}

}  // namespace mixflow
