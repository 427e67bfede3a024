// What tasks are for. Each split draws from random streams of its own, so training never shares
// randomness with held-out tasks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "util/rng.h"

namespace mixflow {

enum class Split : std::uint8_t { train, validation, test };

constexpr std::string_view name_of(Split split) {
  constexpr std::string_view kNames[] = {"train", "validation", "test"};
  return kNames[static_cast<std::size_t>(split)];
}

inline Purpose purpose_of(Split split) {
  switch (split) {
    case Split::train:
      return Purpose::train_tasks;
    case Split::validation:
      return Purpose::validation_tasks;
    case Split::test:
      break;
  }
  return Purpose::test_tasks;
}

}  // namespace mixflow
