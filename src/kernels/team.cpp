// A job is a number of parts. Each thread that may take part has a queue of neighbouring parts,
// which stay its own from job to job as long as it is there, so that it finds what it wrote in its
// cache; who has done his own takes from the others. A queue is one number, the job's and how many
// parts are taken, so that helpers that come late cannot take a part of another job.
//
// The calling thread waits for parts that others have taken. Where that takes long, a helper has
// lost its core inside a part, since parts are about equal. The loss is at most what was waited for
// (a share of it where the helper has done useful work before), and the calling thread then works
// alone for kAlone times as long: so helpers cost at most a twentieth, whatever else runs on the
// machine. That changes no result, only who computes it.
#include "kernels/team.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels/cpu.h"
#include "kernels/float_mode.h"

namespace mixflow {
namespace {

// Of a job's number, its parts and its threads in one word.
constexpr int kPartBits = 14, kWidthBits = 10, kTakenBits = kPartBits + kWidthBits;
constexpr int kMostParts = (1 << kPartBits) - 1, kMostThreads = (1 << kWidthBits) - 1;

// A helper that finds no work spins for the first time, since the next job is often near and to
// wake a thread takes some 50 us on a virtual machine, and sleeps then.
constexpr std::int64_t kHelperSpinNs = 200'000;
constexpr std::int64_t kCallerSpinNs = 50'000;
// Between two looks at the clock while spinning lie some pauses, about a microsecond. More than
// this: the thread was off its core, which others want.
constexpr std::int64_t kOffCoreNs = 50'000;
constexpr int kPauses = 16;

constexpr std::int64_t kAlone = 20;
// What helpers have saved counts against what waiting for them has cost, up to this.
constexpr std::int64_t kMostSavedNs = 20'000'000;

std::int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

struct Job {
  detail::DoPart do_part;
  const void* work;
  FloatMode mode;
  std::mutex mutex;
  int failed_part = kMostParts;
  std::exception_ptr error;

  void run(int part, int thread) noexcept {
    try {
      do_part(work, part, thread);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (part > failed_part) return;
      failed_part = part;
      error = std::current_exception();
    }
  }
};

// A job's number, above its parts and threads; with no parts it is not open.
struct Ticket {
  std::uint64_t word;

  static Ticket of(std::uint64_t number, int parts, int width) {
    return {number << kTakenBits | static_cast<std::uint64_t>(parts) << kWidthBits |
            static_cast<std::uint64_t>(width)};
  }
  std::uint64_t number() const { return word >> kTakenBits; }
  int parts() const { return static_cast<int>(word >> kWidthBits) & kMostParts; }
  int width() const { return static_cast<int>(word) & kMostThreads; }
};

// What one thread and those who want something of it write, a cache line each.
struct Seat {
  alignas(64) std::atomic<std::uint64_t> queue = 0;  // a job's number, above how many are taken
  alignas(64) std::atomic<std::uint32_t> asleep = 0;
  alignas(64) std::atomic<std::int64_t> worked_ns = 0;  // on parts of jobs, by a helper
};

class Pool {
 public:
  void grow(int threads) {
    const std::lock_guard lock(mutex_);
    threads = std::min(threads, kMostThreads);
    static std::once_flag once;
    std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { pool().forget(); }); });
    const bool all_cores = threads >= usable_cores();
    while (started_ < threads && start(started_, all_cores)) ++started_;
    size_ = std::max(1, std::min(threads, started_));
  }

  int size() const { return size_.load(std::memory_order_relaxed); }

  void run(Job& job, int parts, int threads) {
    const int width = std::min({size(), threads, parts});
    if (width <= 1 || parts > kMostParts || is_alone() || busy_.exchange(true)) {
      for (int part = 0; part < parts; ++part) job.run(part, 0);
      return;
    }
    job_.store(&job, std::memory_order_relaxed);
    unfinished_.store(parts, std::memory_order_relaxed);
    caller_cpu_.store(sched_getcpu(), std::memory_order_relaxed);
    const Ticket ticket = Ticket::of(++number_, parts, width);
    ticket_.store(ticket.word);  // before who sleeps is read: a helper does it the other way round
    for (int thread = 1; thread < width; ++thread) {
      std::atomic<std::uint32_t>& asleep = seat(thread).asleep;
      if (asleep.load() != 0 && asleep.exchange(0) != 0) asleep.notify_one();
    }
    const int done = take_parts(ticket, 0, [&](int part) { job.run(part, 0); });
    if (unfinished_.fetch_sub(done, std::memory_order_acq_rel) > done) wait_for_helpers(width);
    busy_.store(false, std::memory_order_release);
  }

  static Pool& pool() {
    static Pool& kPool = *new Pool;  // helpers run until the process ends
    return kPool;
  }

 private:
  Seat& seat(int thread) { return seats_[static_cast<std::size_t>(thread)]; }

  static int cpu_of(int thread) {
    const std::vector<int>& cpus = usable_cpus();
    return cpus[static_cast<std::size_t>(thread) % cpus.size()];
  }

  // In a process that was forked there are no helpers.
  void forget() {
    started_ = size_ = 1;
    busy_ = false;
  }

  // False if the system has no thread for it. A team that leaves cores to others stays nowhere:
  // several such processes would share the first ones.
  bool start(int thread, bool all_cores) {
    sigset_t all, before;  // signals are for the threads that expect them
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP})
      sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
      std::thread([this, thread, all_cores] {
        if (all_cores) stay_on_node_of(cpu_of(thread));
        help(thread);
      }).detach();
    } catch (const std::system_error&) {
      started = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
  }

  // --- parts -------------------------------------------------------------------------------------

  // The next part of a queue of the ticket's job, or -1.
  int take_part(const Ticket& ticket, int queue) {
    const auto [first, last] = share_of(ticket.parts(), queue, ticket.width());
    std::atomic<std::uint64_t>& taken = seat(queue).queue;
    std::uint64_t before = taken.load(std::memory_order_relaxed);
    for (;;) {
      const std::uint64_t number = before >> kTakenBits;
      if (number > ticket.number()) return -1;
      const std::uint64_t start = ticket.number() << kTakenBits;
      const std::uint64_t next = number == ticket.number() ? before : start;
      const auto part = first + static_cast<std::int64_t>(next - start);
      if (part >= last) return -1;
      if (taken.compare_exchange_weak(before, next + 1, std::memory_order_acq_rel,
                                      std::memory_order_relaxed))
        return static_cast<int>(part);
    }
  }

  // Returns how many it was.
  template <class Run>
  int take_parts(const Ticket& ticket, int thread, const Run& run) {
    int done = 0;
    for (int i = 0; i < ticket.width(); ++i) {
      const int queue = thread + i < ticket.width() ? thread + i : thread + i - ticket.width();
      for (int part; (part = take_part(ticket, queue)) >= 0; ++done) run(part);
    }
    return done;
  }

  // --- the calling thread ------------------------------------------------------------------------

  void wait_for_helpers(int width) {
    const std::int64_t begin = now_ns();
    std::int64_t now = begin;
    do {
      for (int i = 0; i < kPauses; ++i) {
        if (unfinished_.load(std::memory_order_acquire) == 0) return;
        pause();
      }
      now = now_ns();
    } while (now - begin < kCallerSpinNs);
    caller_sleeps_.store(true);
    for (int left; (left = unfinished_.load()) != 0;) unfinished_.wait(left);
    caller_sleeps_.store(false);
    settle(now_ns() - begin, width);
  }

  // After a long wait: whether helpers have cost more than they saved. One that was off its core
  // for as long as we waited has worked the less.
  void settle(std::int64_t waited, int width) {
    std::int64_t worked = 0;
    for (int thread = 1; thread < width; ++thread)
      worked += seat(thread).worked_ns.exchange(0, std::memory_order_relaxed);
    balance_ns_ = std::min(balance_ns_ + worked, kMostSavedNs) - 2 * waited;
    if (balance_ns_ >= 0) return;
    alone_until_ns_ = now_ns() - kAlone * balance_ns_;
    balance_ns_ = 0;
  }

  bool is_alone() {
    const std::int64_t until = alone_until_ns_.load(std::memory_order_relaxed);
    if (until == 0) return false;
    if (now_ns() < until) return true;
    alone_until_ns_.store(0, std::memory_order_relaxed);
    return false;
  }

  // --- helpers -----------------------------------------------------------------------------------

  void help(int thread) {
    omp_set_num_threads(1);  // oneDNN's, on this thread
    std::uint64_t seen = 0;
    for (;;) {
      const Ticket ticket = next_ticket(thread, seen);
      take_parts(ticket, thread, [&](int part) {
        // Having taken a part, we know that the job is open.
        Job& job = *job_.load(std::memory_order_relaxed);
        set_float_mode(job.mode);
        const std::int64_t begin = now_ns();
        job.run(part, thread);
        seat(thread).worked_ns.fetch_add(now_ns() - begin, std::memory_order_relaxed);
        if (unfinished_.fetch_sub(1) == 1 && caller_sleeps_.load()) unfinished_.notify_one();
      });
    }
  }

  // Of the next job that is for so many threads.
  Ticket next_ticket(int thread, std::uint64_t& seen) {
    for (;;) {
      const std::int64_t begin = now_ns();
      for (std::int64_t last = begin, now = begin;; last = now) {
        for (int i = 0; i < kPauses; ++i) {
          const Ticket ticket{ticket_.load(std::memory_order_acquire)};
          if (ticket.word != seen) {
            seen = ticket.word;
            if (thread < ticket.width()) return ticket;
          }
          pause();
        }
        now = now_ns();
        if (now - begin > kHelperSpinNs || now - last > kOffCoreNs) break;
        // On the calling thread's core it would keep that thread from going on.
        if (sched_getcpu() == caller_cpu_.load(std::memory_order_relaxed)) break;
      }
      std::atomic<std::uint32_t>& asleep = seat(thread).asleep;
      asleep.store(1);
      while (ticket_.load() == seen && asleep.load() != 0) asleep.wait(1);
      asleep.store(0);
    }
  }

  std::array<Seat, kMostThreads + 1> seats_;
  alignas(64) std::atomic<std::uint64_t> ticket_ = 0;
  std::atomic<Job*> job_ = nullptr;
  std::atomic<int> caller_cpu_ = -1;
  alignas(64) std::atomic<int> unfinished_ = 0;  // parts
  std::atomic<bool> caller_sleeps_ = false;
  alignas(64) std::atomic<bool> busy_ = false;  // somebody has the helpers; the rest is his
  std::uint64_t number_ = 0;
  std::int64_t balance_ns_ = 0;
  std::atomic<std::int64_t> alone_until_ns_ = 0;
  std::atomic<int> size_ = 1;
  std::mutex mutex_;
  int started_ = 1;  // the calling thread included
};

}  // namespace

void start_helpers(int threads) { start_helpers_anyway(std::min(threads, usable_threads())); }

void start_helpers_anyway(int threads) { Pool::pool().grow(threads); }

int team_size() { return Pool::pool().size(); }

void detail::share_parts(int parts, int threads, DoPart do_part, const void* work) {
  Job job{.do_part = do_part, .work = work, .mode = float_mode()};
  Pool::pool().run(job, parts, threads);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace mixflow
