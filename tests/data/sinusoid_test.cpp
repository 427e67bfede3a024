#include "data/sinusoid.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "../util/testing.h"
#include "batches.h"
#include "util/error.h"

namespace mixflow {
namespace {

Config config_of(const SinusoidData& data, std::uint64_t seed = 1) {
  Config config;
  config.seed = seed;
  config.file = "a.yaml";
  config.origins[""] = config.file;
  config.data.source = data;
  return config;
}

TEST_CASE("a sinusoid source tells its sizes") {
  const auto source = make_source(config_of({.shots = 10, .queries = 7}));
  REQUIRE(source->fields().size() == 2);
  CHECK(source->fields()[0].shape == Shape{1});
  CHECK(source->fields()[1].name == "y");
  CHECK(source->inner_batch() == 10);
  CHECK(source->outer_batch(Split::test) == 7);
  CHECK(source->same_batch_every_step());
  CHECK(source->output_width() == 1);
}

TEST_CASE("support and query lie on one sinusoid per task, whose parameters lie in their ranges") {
  const SinusoidData data{
      .shots = 70, .queries = 5, .amplitude = {2, 3}, .phase = {1, 1}, .frequency = {0.5, 0.5}};
  const auto source = make_source(config_of(data));
  constexpr std::int64_t kTasks = 50;
  const Batches batches = fill(*source, Split::train, 0, kTasks, 3);
  std::set<double> amplitudes;
  for (std::int64_t task = 0; task < kTasks; ++task) {
    double amplitude = 0;
    for (const auto& [fields, count] :
         {std::pair(&batches.inner, 70), std::pair(&batches.outer, 5)}) {
      for (std::int64_t i = task * count; i < (task + 1) * count; ++i) {
        const double x = (*fields)[0][static_cast<std::size_t>(i)],
                     y = (*fields)[1][static_cast<std::size_t>(i)];
        CHECK(std::abs(x) <= 5);
        const double wave = std::sin(0.5 * x - 1);
        if (amplitude == 0) amplitude = y / wave;
        CHECK(y == doctest::Approx(amplitude * wave).epsilon(1e-9));
      }
    }
    CHECK(amplitude >= 2);
    CHECK(amplitude <= 3);
    amplitudes.insert(amplitude);
  }
  CHECK(amplitudes.size() == kTasks);
}

TEST_CASE("x is uniform over its range and no point occurs twice, in support and query together") {
  const auto source = make_source(config_of({.shots = 100, .queries = 100}));
  const Batches batches = fill(*source, Split::train, 4, 100, 1);
  std::set<double> seen;
  double mean = 0, square = 0;
  for (const Numbers* xs : {&batches.inner[0], &batches.outer[0]}) {
    for (double x : *xs) {
      seen.insert(x);
      mean += x / 20000;
      square += x * x / 20000;
    }
  }
  CHECK(seen.size() > 19'990);  // of 2^32 possible points: a repetition is a rare accident
  CHECK(std::abs(mean) < 0.1);
  CHECK(square == doctest::Approx(25.0 / 3).epsilon(0.03));
}

TEST_CASE(
    "a task depends on seed, split, index and its number alone, not on how many are asked for") {
  const auto source = make_source(config_of({}));
  const Batches five = fill(*source, Split::train, 8, 5, 1);
  fill(*source, Split::train, 9, 3, 1);
  const Batches two = fill(*source, Split::train, 8, 2, 4);
  for (std::size_t f = 0; f < 2; ++f) {
    CHECK(std::equal(two.inner[f].begin(), two.inner[f].end(), five.inner[f].begin()));
    CHECK(std::equal(two.outer[f].begin(), two.outer[f].end(), five.outer[f].begin()));
  }
  CHECK(fill(*source, Split::train, 9, 5, 1) != five);
  CHECK(fill(*source, Split::validation, 8, 5, 1) != five);
  CHECK(fill(*source, Split::test, 8, 5, 1) != fill(*source, Split::validation, 8, 5, 1));
  CHECK(fill(*make_source(config_of({}, 2)), Split::train, 8, 5, 1) != five);
  CHECK(fill(*make_source(config_of({})), Split::train, 8, 5, 1) == five);
}

TEST_CASE("f32 holds the f64 points, rounded") {
  const auto source = make_source(config_of({.shots = 100, .frequency = {0.1, 50}}));
  const Batches f64 = fill(*source, Split::train, 0, 20, 1),
                f32 = fill(*source, Split::train, 0, 20, 1, Precision::f32);
  for (std::size_t i = 0; i < f64.inner[0].size(); ++i) {
    CHECK(f32.inner[0][i] == static_cast<float>(f64.inner[0][i]));
    CHECK(std::abs(f32.inner[1][i] - f64.inner[1][i]) <
          4e-7);  // half a unit in the last place of 5
  }
}

TEST_CASE("the fast sine agrees with the library's, up to its limit") {
  double worst = 0;
  for (int i = -200'000; i <= 200'000; ++i) {
    const double near = i * 1e-4, far = i * kFastSinLimit / 200'000;
    worst = std::max({worst, std::abs(fast_sin(near) - std::sin(near)),
                      std::abs(fast_sin(far) - std::sin(far))});
  }
  CHECK(worst < 1e-9);
}

TEST_CASE("what the loader refuses does not come here") {
  CHECK_THROWS_AS(make_source(config_of({.shots = 0})), InternalError);
  Config config = config_of({});
  config.inner.loss = Loss::cross_entropy;
  CHECK_THROWS_AS(make_source(config), InternalError);
}

}  // namespace
}  // namespace mixflow
