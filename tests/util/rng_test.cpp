#include "util/rng.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace mixflow {
namespace {

// Random123's kat_vectors, lines `philox4x32 10`.
TEST_CASE("Philox agrees with the published known-answer vectors") {
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) ==
        PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("bulk uniforms are the words of the stream in order, for every length") {
  for (std::size_t n = 0; n < 70; ++n) {
    std::vector<double> bulk(n);
    Rng(7, Purpose::check, 5, 3).fill_uniform(bulk);
    Rng words(7, Purpose::check, 5, 3);
    for (double u : bulk) CHECK(u == (words.u32() + 0.5) / 4294967296.0);
  }
}

TEST_CASE("bulk draws one after another never repeat a block") {
  Rng rng(7, Purpose::check);
  std::set<double> seen;
  for (std::size_t n : {1u, 17u, 3u, 16u, 40u}) {
    std::vector<double> bulk(n);
    rng.fill_uniform(bulk);
    seen.insert(bulk.begin(), bulk.end());
  }
  CHECK(seen.size() == 77);
}

TEST_CASE("streams differ in every part of their address") {
  std::set<std::uint64_t> first;
  for (std::uint64_t seed : {0, 1, 2})
    for (Purpose purpose : {Purpose::train_tasks, Purpose::test_tasks})
      for (std::uint64_t index : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32})
        for (std::uint32_t task : {0u, 1u, 2u}) first.insert(Rng(seed, purpose, index, task).u64());
  CHECK(first.size() == 3 * 2 * 3 * 3);
}

struct Moments {
  double mean = 0, variance = 0, skew = 0, kurtosis = 0;
};

Moments moments(const std::vector<double>& x) {
  Moments m;
  const double n = static_cast<double>(x.size());
  for (double v : x) m.mean += v / n;
  for (double v : x) m.variance += (v - m.mean) * (v - m.mean) / n;
  const double deviation = std::sqrt(m.variance);
  for (double v : x) {
    const double z = (v - m.mean) / deviation;
    m.skew += z * z * z / n;
    m.kurtosis += z * z * z * z / n;
  }
  return m;
}

constexpr std::size_t kDraws = 200'000;

TEST_CASE("uniforms have the moments of a uniform and stay in their interval") {
  Rng rng(1, Purpose::check);
  std::vector<double> single(kDraws), bulk(kDraws);
  for (double& v : single) v = rng.uniform(-2.0, 4.0);
  rng.fill_uniform(bulk);
  for (double& v : bulk) v = -2.0 + 6.0 * v;
  for (const auto& x : {single, bulk}) {
    CHECK(*std::min_element(x.begin(), x.end()) >= -2.0);
    CHECK(*std::max_element(x.begin(), x.end()) < 4.0);
    const Moments m = moments(x);
    CHECK(m.mean == doctest::Approx(1.0).epsilon(0.01));
    CHECK(m.variance == doctest::Approx(3.0).epsilon(0.01));
    CHECK(std::abs(m.skew) < 0.02);
    CHECK(m.kurtosis == doctest::Approx(1.8).epsilon(0.01));
  }
}

TEST_CASE("normals have the moments of a normal") {
  Rng rng(1, Purpose::initial_values);
  std::vector<double> single(kDraws), bulk(kDraws + 1);
  for (double& v : single) v = rng.normal();
  rng.fill_normal(bulk);
  for (const auto& x : {single, bulk}) {
    const Moments m = moments(x);
    CHECK(std::abs(m.mean) < 0.01);
    CHECK(m.variance == doctest::Approx(1.0).epsilon(0.015));
    CHECK(std::abs(m.skew) < 0.03);
    CHECK(m.kurtosis == doctest::Approx(3.0).epsilon(0.03));
  }
}

// The chi-squared statistic of counts that should be equal.
template <class Counts>
double chi_squared(const Counts& counts, double expected) {
  double sum = 0;
  for (const auto& [key, count] : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

TEST_CASE("bulk draws in whole chunks are those of one draw") {
  constexpr std::size_t kChunk = 1 << 16;
  std::vector<double> whole(kChunk + 5), parts(whole.size());
  Rng(7, Purpose::initial_values).fill_normal(whole);
  Rng rng(7, Purpose::initial_values);
  rng.fill_normal(std::span(parts).first(kChunk));
  rng.fill_normal(std::span(parts).subspan(kChunk));
  CHECK(parts == whole);
}

TEST_CASE("below(n) reaches every value equally often") {
  Rng rng(3, Purpose::check);
  std::map<std::uint64_t, int> counts;
  for (int i = 0; i < 70'000; ++i) ++counts[rng.below(7)];
  REQUIRE(counts.size() == 7);
  CHECK(counts.rbegin()->first == 6);
  CHECK(chi_squared(counts, 10'000) < 22.5);  // 6 degrees of freedom, p = 0.001
  CHECK(rng.below(1) == 0);
}

TEST_CASE("below(n) has no bias where n does not divide 2^64") {
  // Two thirds of 2^64: a plain remainder would return the lower half twice as often as the upper.
  const std::uint64_t n = 0xAAAAAAAAAAAAAAAA;
  Rng rng(3, Purpose::check);
  int lower = 0;
  for (int i = 0; i < 10'000; ++i) lower += rng.below(n) < n / 2;
  CHECK(lower == doctest::Approx(5000).epsilon(0.04));
}

TEST_CASE("shuffles and index permutations of four reach all 24 orders equally often") {
  constexpr int kTrials = 24'000;
  std::map<std::vector<std::int64_t>, int> shuffled, indexed;
  for (int i = 0; i < kTrials; ++i) {
    Rng rng(3, Purpose::check, static_cast<std::uint64_t>(i));
    ++shuffled[rng.permutation(4)];
    const IndexPermutation permutation(4, rng);
    ++indexed[{permutation[0], permutation[1], permutation[2], permutation[3]}];
  }
  REQUIRE(shuffled.size() == 24);
  REQUIRE(indexed.size() == 24);
  CHECK(chi_squared(shuffled, kTrials / 24.0) < 49.7);  // 23 degrees of freedom, p = 0.001
  CHECK(chi_squared(indexed, kTrials / 24.0) < 49.7);
}

TEST_CASE("an index permutation holds every index once, for every size") {
  for (std::int64_t n = 1; n < 300; ++n) {
    Rng rng(1, Purpose::data_split, static_cast<std::uint64_t>(n));
    const IndexPermutation permutation(n, rng);
    std::vector<std::int64_t> order;
    for (std::int64_t i = 0; i < n; ++i) order.push_back(permutation[i]);
    std::sort(order.begin(), order.end());
    for (std::int64_t i = 0; i < n; ++i) REQUIRE(order[static_cast<std::size_t>(i)] == i);
  }
}

TEST_CASE("the first pair of an index permutation is uniform over all pairs of eleven") {
  constexpr int kTrials = 110'000;
  std::map<std::pair<std::int64_t, std::int64_t>, int> counts;
  for (int i = 0; i < kTrials; ++i) {
    Rng rng(9, Purpose::check, static_cast<std::uint64_t>(i));
    const IndexPermutation permutation(11, rng);
    ++counts[{permutation[0], permutation[1]}];
  }
  REQUIRE(counts.size() == 110);
  CHECK(chi_squared(counts, kTrials / 110.0) < 161.6);  // 109 degrees of freedom, p = 0.001
}

}  // namespace
}  // namespace mixflow
