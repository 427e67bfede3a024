// Walks over the instruction sets that this CPU runs, for the tables of kernels that tests compare.
#pragma once

#include <hwy/highway.h>

#include <cstdint>

namespace mixflow {

// Calls `visit` with each of `targets` (HWY_TARGETS of the caller) chosen in turn for dynamic
// dispatch. Not to be called while kernels run.
template <class Visit>
void on_every_target(std::int64_t targets, const Visit& visit) {
  const auto choose = [](std::int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  };
  for (std::int64_t rest = hwy::SupportedTargets() & targets; rest != 0; rest &= rest - 1) {
    choose(rest & -rest);
    visit();
  }
  choose(0);  // what the CPU has
}

}  // namespace mixflow
