// Random numbers that depend on their address alone. A stream is keyed by (seed, purpose, index,
// task) and its n-th number by n, so a resumed run, another thread or another order of calls draws
// the same numbers. The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as
// easy as 1, 2, 3", SC 2011): a bijection of the counter under the key, hence nothing to seed and
// nothing to carry. A stream costs nothing to construct.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace mixflow {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

// Ten rounds, as Random123's philox4x32: the same words for the same counter and key.
PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key);

// What a stream is for. Streams of different purposes are unrelated. Append only: the numbers are
// in users' results.
enum class Purpose : std::uint32_t {
  initial_values = 1,  // theta_0 and meta-parameters
  data_split = 2,      // which rows are for training, validation, test
  train_tasks = 3,
  validation_tasks = 4,
  test_tasks = 5,
  check = 6,         // directions and perturbations of `check`
  sweep_points = 7,  // random axes of a sweep
};

// One stream: 2^34 words of 32 bits before it repeats.
class Rng {
 public:
  explicit Rng(std::uint64_t seed, Purpose purpose, std::uint64_t index = 0,
               std::uint32_t task = 0);

  std::uint32_t u32();
  std::uint64_t u64();
  double uniform();                         // [0, 1), 53 random bits
  double uniform(double low, double high);  // [low, high); `low` if they are equal
  double normal();                          // mean 0, deviation 1 (Box-Muller)
  std::uint64_t below(std::uint64_t n);     // 0 .. n-1 without bias (Lemire 2019); n > 0

  // Bulk draws, several blocks at a time, beginning at the next unused block. Uniforms here have 32
  // random bits and lie in (0, 1).
  void fill_uniform(std::span<double> out);
  void fill_normal(std::span<double> out);

  // The order of 0 .. n-1 after a fair shuffle.
  std::vector<std::int64_t> permutation(std::int64_t n);

 private:
  void refill();

  PhiloxKey key_;
  PhiloxCounter next_;  // the next block: {block, task, index low, index high}
  PhiloxCounter words_{};
  int used_ = 4;
  double spare_normal_ = 0;
  bool has_spare_ = false;
};

// A permutation of 0 .. n-1 whose entries are computed one by one, without memory: for drawing
// without replacement where nothing may be allocated. A Feistel network over the next power of two,
// walked until it falls below n (Black and Rogaway 2002). Every order of up to four items is
// equally likely within what tests can see; for more items the orders are a large random subset of
// all.
class IndexPermutation {
 public:
  // Draws its key from `rng`; n > 0.
  IndexPermutation(std::int64_t n, Rng& rng);

  std::int64_t operator[](std::int64_t i) const;  // 0 <= i < n

 private:
  std::uint64_t n_;
  std::uint64_t key_;
  int low_bits_;  // the two halves of the domain
  int high_bits_;
};

}  // namespace mixflow
