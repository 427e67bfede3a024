#include "train/inner_state.h"

#include <cstring>

#include "util/error.h"

namespace mixflow {

std::int64_t inner_steps_after(const InnerConfig& inner, std::int64_t t) {
  if (t == 0 || inner.reset_every == 0) return t * inner.steps;
  return ((t - 1) % inner.reset_every + 1) * inner.steps;
}

void reset_inner_state(StageRun& run) {
  constexpr std::string_view kPrefix = "inner_state.";
  for (const Port& port : run.stage().inputs) {
    if (port.role != Role::inner_state) continue;
    const std::span<std::byte> state = run.input(port.name);
    const std::string_view start = std::string_view(port.name).substr(kPrefix.size());
    if (!run.has_input(start)) {  // the optimiser's
      std::memset(state.data(), 0, state.size());
      continue;
    }
    const std::span<const std::byte> theta0 = run.input(start);
    MIXFLOW_CHECK(state.size() % theta0.size() == 0, "the state of whole tasks expected");
    for (std::size_t at = 0; at < state.size(); at += theta0.size()) {
      std::memcpy(state.data() + at, theta0.data(), theta0.size());
    }
  }
}

void give_inner_state(const InnerConfig& inner, std::int64_t t, StageRun& run) {
  if (!inner.carries_state()) return;
  const std::int64_t done = inner_steps_after(inner, t) - inner.steps;
  if (done == 0) reset_inner_state(run);
  run.set_scalar("steps_done", static_cast<double>(done));
}

}  // namespace mixflow
