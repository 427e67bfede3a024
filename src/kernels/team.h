// How threads share work. Callers ask for all threads that are configured, however little there is
// to do: the runtime ends threads that a smaller team does not need, and to start them again
// allocates and loses their cores.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace mixflow {

// Items [first, last) of n that are `thread`'s: what is over goes to the first threads, one each,
// as in libgomp's static schedule.
inline std::pair<std::int64_t, std::int64_t> share_of(std::int64_t n, std::int64_t thread,
                                                      std::int64_t threads) {
  const std::int64_t each = n / threads, over = n % threads;
  const auto first = [&](std::int64_t t) { return each * t + std::min(t, over); };
  return {first(thread), first(thread + 1)};
}

// Threads inside one region that work on one thing together, and the calling thread's place.
struct Team {
  int thread, threads;

  void wait() const {
    if (threads > 1) {
#pragma omp barrier
    }
  }
  std::int64_t longest_share(std::int64_t n) const { return (n + threads - 1) / threads; }
  // This thread's part of n items.
  std::pair<std::int64_t, std::int64_t> share(std::int64_t n) const {
    return share_of(n, thread, threads);
  }
};

// The functions below open a region, but for one thread, item or part: that is done by the calling
// thread without a region, which would allocate. The runtime may give fewer threads than are asked
// for.

// work(team) on each of so many threads.
template <class Work>
void as_team(int threads, const Work& work) {
  if (threads <= 1) {
    work(Team{0, 1});
    return;
  }
#pragma omp parallel num_threads(threads)
  work(Team{omp_get_thread_num(), omp_get_num_threads()});
}

// work(item, thread) for items 0 .. count - 1, each thread its share of them; `thread` is less than
// `threads`.
template <class Work>
void share_items(int threads, std::int64_t count, const Work& work) {
  if (threads <= 1 || count <= 1) {
    for (std::int64_t item = 0; item < count; ++item) work(item, 0);
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::int64_t item = 0; item < count; ++item) work(item, omp_get_thread_num());
}

// work(part) for parts 0 .. parts - 1 of work that was divided before, each on a thread of its own:
// of all that are configured, or as many as parts if these are more.
template <class Work>
void run_parts(int parts, const Work& work) {
  if (parts <= 1) {
    for (int part = 0; part < parts; ++part) work(part);
    return;
  }
#pragma omp parallel for num_threads(std::max(parts, omp_get_max_threads())) schedule(static, 1)
  for (int part = 0; part < parts; ++part) work(part);
}

}  // namespace mixflow
