#include "util/rng.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "util/error.h"

namespace mixflow {

namespace {

constexpr std::uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;
constexpr int kFeistelRounds = 8;
// Blocks that a bulk draw computes side by side; enough for the compiler to use vectors, few enough
// to waste little.
constexpr int kLanes = 4;

// The finaliser of SplitMix64: a bijection that spreads neighbouring values (seeds 1, 2, 3, ..)
// over all 64 bits.
std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

PhiloxKey make_key(std::uint64_t seed, Purpose purpose) {
  const std::uint64_t key = mix64(seed + 0x9E3779B97F4A7C15u * static_cast<std::uint64_t>(purpose));
  return {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
}

// kLanes consecutive blocks from `counter` on, as words[w][lane].
void philox_lanes(PhiloxCounter counter, PhiloxKey key, std::uint32_t (&words)[4][kLanes]) {
  for (int lane = 0; lane < kLanes; ++lane) {
    words[0][lane] = counter[0] + static_cast<std::uint32_t>(lane);
    for (int w = 1; w < 4; ++w) words[w][lane] = counter[static_cast<std::size_t>(w)];
  }
  for (int round = 0; round < kRounds; ++round) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t p0 = std::uint64_t{kMultiplier0} * words[0][lane];
      const std::uint64_t p1 = std::uint64_t{kMultiplier1} * words[2][lane];
      words[0][lane] = static_cast<std::uint32_t>(p1 >> 32) ^ words[1][lane] ^ key[0];
      words[1][lane] = static_cast<std::uint32_t>(p1);
      words[2][lane] = static_cast<std::uint32_t>(p0 >> 32) ^ words[3][lane] ^ key[1];
      words[3][lane] = static_cast<std::uint32_t>(p0);
    }
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
}

// Never 0 or 1, so that a logarithm of it is finite.
double open_unit(std::uint32_t word) { return (static_cast<double>(word) + 0.5) * 0x1p-32; }

}  // namespace

PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t p0 = std::uint64_t{kMultiplier0} * counter[0];
    const std::uint64_t p1 = std::uint64_t{kMultiplier1} * counter[2];
    counter = {
        static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
        static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

Rng::Rng(std::uint64_t seed, Purpose purpose, std::uint64_t index, std::uint32_t task)
    : key_(make_key(seed, purpose)),
      next_{0, task, static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32)} {}

void Rng::refill() {
  words_ = philox4x32(next_, key_);
  ++next_[0];
  used_ = 0;
}

std::uint32_t Rng::u32() {
  if (used_ == 4) refill();
  return words_[static_cast<std::size_t>(used_++)];
}

std::uint64_t Rng::u64() {
  const std::uint64_t low = u32();
  return low | (std::uint64_t{u32()} << 32);
}

double Rng::uniform() { return static_cast<double>(u64() >> 11) * 0x1p-53; }

double Rng::uniform(double low, double high) { return low + (high - low) * uniform(); }

double Rng::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_normal_;
  }
  // 1 - uniform() is in (0, 1]: the logarithm is finite.
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  const double angle = 2.0 * std::numbers::pi * uniform();
  spare_normal_ = radius * std::sin(angle);
  has_spare_ = true;
  return radius * std::cos(angle);
}

std::uint64_t Rng::below(std::uint64_t n) {
  MIXFLOW_CHECK(n > 0, "below(0) has no result");
  // The high word of word * n is uniform once the few low words that would favour some results are
  // rejected.
  __extension__ using Wide = unsigned __int128;
  Wide product = Wide{u64()} * n;
  if (static_cast<std::uint64_t>(product) < n) {
    const std::uint64_t threshold = (0 - n) % n;
    while (static_cast<std::uint64_t>(product) < threshold) product = Wide{u64()} * n;
  }
  return static_cast<std::uint64_t>(product >> 64);
}

void Rng::fill_uniform(std::span<double> out) {
  constexpr std::size_t kWords = 4 * kLanes;
  std::size_t done = 0;
  used_ = 4;  // bulk draws start at a block of their own
  while (done < out.size()) {
    std::uint32_t words[4][kLanes];
    philox_lanes(next_, key_, words);
    const std::size_t count = std::min(kWords, out.size() - done);
    for (std::size_t i = 0; i < count; ++i) out[done + i] = open_unit(words[i % 4][i / 4]);
    next_[0] += static_cast<std::uint32_t>((count + 3) / 4);
    done += count;
  }
}

void Rng::fill_normal(std::span<double> out) {
  const auto transform = [](double& a, double& b) {
    const double radius = std::sqrt(-2.0 * std::log(a));
    const double angle = 2.0 * std::numbers::pi * b;
    a = radius * std::cos(angle);
    b = radius * std::sin(angle);
  };
  const std::size_t even = out.size() - out.size() % 2;
  fill_uniform(out.first(even));
  for (std::size_t i = 0; i < even; i += 2) transform(out[i], out[i + 1]);
  if (even < out.size()) {
    double pair[2];
    fill_uniform(pair);
    transform(pair[0], pair[1]);
    out[even] = pair[0];
  }
}

std::vector<std::int64_t> Rng::permutation(std::int64_t n) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below(i)]);
  return order;
}

IndexPermutation::IndexPermutation(std::int64_t n, Rng& rng)
    : n_(static_cast<std::uint64_t>(n)), key_(rng.u64()) {
  MIXFLOW_CHECK(n > 0, "a permutation of nothing");
  const int bits = std::max(2, static_cast<int>(std::bit_width(n_ - 1)));
  low_bits_ = bits / 2;
  high_bits_ = bits - low_bits_;
}

std::int64_t IndexPermutation::operator[](std::int64_t i) const {
  const std::uint64_t low_mask = (std::uint64_t{1} << low_bits_) - 1;
  const std::uint64_t high_mask = (std::uint64_t{1} << high_bits_) - 1;
  auto x = static_cast<std::uint64_t>(i);
  do {
    std::uint64_t low = x & low_mask, high = x >> low_bits_;
    for (int round = 0; round < kFeistelRounds; round += 2) {
      const std::uint64_t round_key =
          key_ + 0x9E3779B97F4A7C15u * static_cast<std::uint64_t>(round);
      low ^= (mix64(round_key ^ mix64(high)) >> 32) & low_mask;
      high ^= (mix64(~round_key ^ mix64(low)) >> 32) & high_mask;
    }
    x = high << low_bits_ | low;
  } while (x >= n_);
  return static_cast<std::int64_t>(x);
}

}  // namespace mixflow
