#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mixflow {

double scheduled_lr(const Schedule& schedule, double lr, std::int64_t t, std::int64_t steps) {
  if (t <= schedule.warmup)
    return lr * static_cast<double>(t) / static_cast<double>(schedule.warmup);
  const auto done = static_cast<double>(t - schedule.warmup - 1);
  switch (schedule.kind) {
    case ScheduleKind::constant:
      return lr;
    case ScheduleKind::cosine: {
      const auto length =
          static_cast<double>(std::max<std::int64_t>(steps - schedule.warmup - 1, 1));
      const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * std::min(done / length, 1.0)));
      return lr * (schedule.final_fraction + (1 - schedule.final_fraction) * cosine);
    }
    case ScheduleKind::step:
      return lr * std::pow(schedule.factor, std::floor(done / static_cast<double>(schedule.every)));
  }
  return lr;
}

}  // namespace mixflow
