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

// work(team) on each of so many threads; on the calling one, outside a region, if that is one.
template <class Work>
void as_team(int threads, const Work& work) {
  if (threads <= 1) {
    work(Team{0, 1});
    return;
  }
#pragma omp parallel num_threads(threads)
  work(Team{omp_get_thread_num(), omp_get_num_threads()});
}

}  // namespace mixflow
