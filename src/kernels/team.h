// How threads share work, and the only place that opens parallel regions. Callers ask for all
// threads that are configured, however little there is to do: the runtime ends threads that a
// smaller team does not need, and to start them again allocates and loses their cores.
//
// What is thrown on a thread of a region is thrown again by the function that opened it, on the
// calling thread and once all threads are done: of several exceptions that of the lowest thread,
// which has the lowest items. A thread whose work throws does no more of it; the others finish
// theirs.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
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

// Where the threads of a team wait for each other. OpenMP's barrier must be reached by all of them
// as often; from this one a thread that throws can resign, so that the others do not wait for it.
class TeamBarrier {
 public:
  // Until all `threads` are here or have resigned.
  void wait(int threads) {
    const std::uint32_t phase = phase_.load(std::memory_order_relaxed);
    if (arrive(threads)) return;
    for (int spin = 0; spin < kSpins; ++spin) {
      if (phase_.load(std::memory_order_acquire) != phase) return;
      relax();
    }
    while (phase_.load(std::memory_order_acquire) == phase) phase_.wait(phase);
  }
  // Instead of the next wait and all later ones.
  void resign(int threads) {
    resigned_.fetch_add(1, std::memory_order_relaxed);
    arrive(threads);
  }

 private:
  static constexpr int kSpins =
      4'000;  // some 0.1 ms: more than threads with equal shares differ by

  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }

  // Whether this thread was the last; then the others go on.
  bool arrive(int threads) {
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < threads) return false;
    arrived_.store(resigned_.load(std::memory_order_relaxed), std::memory_order_relaxed);
    phase_.fetch_add(1, std::memory_order_release);
    phase_.notify_all();
    return true;
  }

  std::atomic<int> arrived_ = 0;  // in this phase; those who resigned count in each
  std::atomic<int> resigned_ = 0;
  std::atomic<std::uint32_t> phase_ = 0;
};

// Threads inside one region that work on one thing together, and the calling thread's place. All
// wait equally often.
struct Team {
  int thread, threads;
  TeamBarrier* barrier = nullptr;  // none: a single thread

  void wait() const {
    if (threads > 1) barrier->wait(threads);
  }
  std::int64_t longest_share(std::int64_t n) const { return (n + threads - 1) / threads; }
  // This thread's part of n items.
  std::pair<std::int64_t, std::int64_t> share(std::int64_t n) const {
    return share_of(n, thread, threads);
  }
};

// The exception of a region's lowest thread that threw.
class RegionError {
 public:
  template <class Work>
  void keep_from(int thread, const Work& work) noexcept {
    try {
      work();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (error_ && thread_ < thread) return;
      thread_ = thread;
      error_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::mutex mutex_;
  int thread_ = 0;
  std::exception_ptr error_;
};

// work(thread, threads) on each thread of a region. The runtime may give fewer threads than are
// asked for.
template <class Work>
void in_region(int threads, const Work& work) {
  RegionError error;
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num();
    error.keep_from(thread, [&] { work(thread, omp_get_num_threads()); });
  }
  error.rethrow();
}

// The functions below open a region, but for one thread, item or part: that is done by the calling
// thread without a region, which would allocate.

// work(team) on each of so many threads.
template <class Work>
void as_team(int threads, const Work& work) {
  if (threads <= 1) {
    work(Team{0, 1});
    return;
  }
  TeamBarrier barrier;
  in_region(threads, [&](int thread, int all) {
    try {
      work(Team{thread, all, &barrier});
    } catch (...) {
      barrier.resign(all);
      throw;
    }
  });
}

// work(item, thread) for items 0 .. count - 1, each thread its share of them; `thread` is less than
// `threads`.
template <class Work>
void share_items(int threads, std::int64_t count, const Work& work) {
  if (threads <= 1 || count <= 1) {
    for (std::int64_t item = 0; item < count; ++item) work(item, 0);
    return;
  }
  in_region(threads, [&](int thread, int all) {
    const auto [first, last] = share_of(count, thread, all);
    for (std::int64_t item = first; item < last; ++item) work(item, thread);
  });
}

// work(part) for parts 0 .. parts - 1 of work that was divided before, each on a thread of its own:
// of all that are configured, or as many as parts if these are more.
template <class Work>
void run_parts(int parts, const Work& work) {
  if (parts <= 1) {
    for (int part = 0; part < parts; ++part) work(part);
    return;
  }
  in_region(std::max(parts, omp_get_max_threads()), [&](int thread, int all) {
    for (int part = thread; part < parts; part += all) work(part);
  });
}

}  // namespace mixflow
