// The threads that work on one thing together, inside a parallel region.
#pragma once

#include <omp.h>

#include <cstdint>
#include <utility>

namespace mixflow {

// The calling thread's place among them.
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
    return {n * thread / threads, n * (thread + 1) / threads};
  }
};

// A region of one thread costs an allocation: where one is asked for, the calling thread does all
// outside of any region.

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

// work(item, thread) for items 0 .. count - 1, so many threads each a run of them, the first
// threads what is over.
template <class Work>
void share_items(int threads, std::int64_t count, const Work& work) {
  if (threads <= 1 || count <= 1) {
    for (std::int64_t item = 0; item < count; ++item) work(item, 0);
    return;
  }
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::int64_t item = 0; item < count; ++item) work(item, omp_get_thread_num());
}

}  // namespace mixflow
