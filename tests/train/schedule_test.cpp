#include "train/schedule.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace mixflow;

TEST_CASE("a constant rate is constant, after a linear warm-up") {
  CHECK(scheduled_lr({}, 0.5, 1, 10) == 0.5);
  CHECK(scheduled_lr({}, 0.5, 10, 10) == 0.5);
  const Schedule warm{.warmup = 4};
  CHECK(scheduled_lr(warm, 0.4, 1, 10) == doctest::Approx(0.1));
  CHECK(scheduled_lr(warm, 0.4, 4, 10) == doctest::Approx(0.4));
  CHECK(scheduled_lr(warm, 0.4, 5, 10) == doctest::Approx(0.4));
}

TEST_CASE("a cosine falls from the full rate to its final fraction at the last meta-step") {
  const Schedule cosine{.kind = ScheduleKind::cosine, .warmup = 2, .final_fraction = 0.1};
  CHECK(scheduled_lr(cosine, 1, 3, 13) == doctest::Approx(1));
  CHECK(scheduled_lr(cosine, 1, 8, 13) == doctest::Approx(0.1 + 0.9 * 0.5));
  CHECK(scheduled_lr(cosine, 1, 13, 13) == doctest::Approx(0.1));
  for (int t = 4; t <= 13; ++t)
    CHECK(scheduled_lr(cosine, 1, t, 13) < scheduled_lr(cosine, 1, t - 1, 13));
  // A single meta-step, or only a warm-up, divides by nothing.
  CHECK(scheduled_lr({.kind = ScheduleKind::cosine}, 1, 1, 1) == 1);
  CHECK(scheduled_lr(cosine, 1, 2, 2) == 1);
}

TEST_CASE("steps multiply the rate by a factor, every so many meta-steps after the warm-up") {
  const Schedule steps{.kind = ScheduleKind::step, .warmup = 1, .every = 3, .factor = 0.5};
  const double expected[] = {1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25};
  for (int t = 1; t <= 8; ++t)
    CHECK(scheduled_lr(steps, 1, t, 8) == doctest::Approx(expected[t - 1]));
}
