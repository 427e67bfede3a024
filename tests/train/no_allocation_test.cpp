// After the first meta-step nothing is allocated. Every path to the heap is counted: operator new
// and the C library's functions, also when called from libraries.
#include <doctest/doctest.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "configs.h"
#include "train/threads.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<std::int64_t> allocations{0};

}  // namespace

// The sanitizers have allocation functions of their own.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define MIXFLOW_COUNTS_ALLOCATIONS 1
static void count() {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
}

extern "C" {
// glibc's own names: a program may define the public ones, which then serve the libraries too.
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
  count();
  return __libc_malloc(size);
}
void* calloc(std::size_t n, std::size_t size) {
  count();
  return __libc_calloc(n, size);
}
void* realloc(void* old, std::size_t size) {
  count();
  return __libc_realloc(old, size);
}
void* memalign(std::size_t alignment, std::size_t size) {
  count();
  return __libc_memalign(alignment, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  count();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** result, std::size_t alignment, std::size_t size) {
  count();
  *result = __libc_memalign(alignment, size);
  return *result ? 0 : ENOMEM;
}
}
#endif

using namespace mixflow;

namespace {

// Allocations of 50 meta-steps after the first one.
std::int64_t allocations_of(const Config& config, int threads) {
  start_threads(threads);
  const Built built(config);
  StageRun run(built.experiment.train, plan_options(config, threads));
  draw_initial_values(built.experiment, run);
  double sum = 0;
  for (std::int64_t t = 1; t <= 51; ++t) {
    if (t == 2) {
      allocations = 0;
      counting = true;
    }
    give_step(built, run, t);
    run.run();
    sum += run.result("outer_loss") + run.result("meta_grad_norm");
  }
  counting = false;
  CHECK(sum > 0);
  return allocations;
}

bool counts() {
#ifdef MIXFLOW_COUNTS_ALLOCATIONS
  return true;
#else
  MESSAGE("skipped: a sanitizer or another C library has its own allocation functions");
  return false;
#endif
}

}  // namespace

TEST_CASE("the counter sees operator new, malloc and its relatives") {
  if (!counts()) return;
  allocations = 0;
  counting = true;
  // volatile: the compiler may remove pairs of allocation and release.
  int* volatile object = new int(1);
  void* volatile block = std::malloc(10);
  block = std::realloc(block, 1000);
  void* volatile zeros = std::calloc(3, 5);
  void* volatile line = std::aligned_alloc(64, 128);
  counting = false;
  CHECK(allocations == 5);
  delete object;
  std::free(block);
  std::free(zeros);
  std::free(line);
}

TEST_CASE("meta-steps of MAML on sinusoids allocate nothing") {
  if (!counts()) return;
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    const Settings sizes = {"model.hidden=[40, 40]", "meta.batch=10", "data.shots=10"};
    for (const std::string mode : {"mixed", "reverse", "first_order"}) {
      CAPTURE(mode);
      Settings settings = sizes;
      settings.push_back("gradient.mode=" + mode);
      CHECK(allocations_of(small_config(settings), threads) == 0);
    }
  }
}

TEST_CASE("meta-steps with fewer tasks than threads start no thread again") {
  if (!counts()) return;
  const Settings settings = {"meta.batch=2", "data.shots=200", "data.queries=200"};
  CHECK(allocations_of(small_config(settings), 3) == 0);
}

TEST_CASE("meta-steps that carry the inner state, and reset it, allocate nothing") {
  if (!counts()) return;
  for (const int threads : {1, 2}) {
    const Settings settings = {"inner.reset_every=10", "inner.optimizer.kind=adam",
                               "meta.parameters=[{kind: lr}]"};
    CHECK(allocations_of(small_config(settings), threads) == 0);
  }
}

TEST_CASE("meta-steps on batches of a table allocate nothing") {
  if (!counts()) return;
  // Sizes that our own product kernels take: oneDNN's sgemm packs into memory that it allocates in
  // every call.
  const TabularFiles files;
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    CHECK(allocations_of(files.config({"inner.optimizer.kind=adam"}), threads) == 0);
    CHECK(allocations_of(files.config({"data.batch=0", "model.hidden=[300, 300]"}), threads) == 0);
  }
}

TEST_CASE("meta-steps with products in bf16 allocate nothing") {
  if (!counts()) return;
  const Settings settings = {"data.sequence=64",   "data.batch=1",     "data.outer_batch=1",
                             "model.vocab=64",     "model.d_model=64", "model.ffw=96",
                             "model.kv_size=48",   "meta.batch=1",     "precision=bf16",
                             "gradient.mode=mixed"};
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    CHECK(allocations_of(transformer_config(settings), threads) == 0);
  }
}

TEST_CASE("meta-steps of a transformer on text allocate nothing") {
  if (!counts()) return;
  const TemporaryDirectory directory;
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>(i % 251);
  write_atomically(directory / "text.txt", text);
  const std::string config =
      "data: {kind: text, path: text.txt, sequence: 7, batch: 2, corrupt: 0.5}\n"
      "model: {kind: transformer, d_model: 6, ffw: 8, heads: 2, kv_size: 4, layers: 2}\n"
      "inner: {steps: 2, optimizer: {kind: adam}}\n"
      "meta: {parameters: [{kind: loss_weights, model: {kind: transformer, d_model: 4, ffw: 6, "
      "heads: 1, kv_size: 2, layers: 1}}]}\n";
  for (const int threads : {1, 2}) {
    CAPTURE(threads);
    CHECK(allocations_of(parse_config(config, directory / "tokens.yaml"), threads) == 0);
  }
}
