// Each split draws from random streams of its own, so training never shares randomness with
// held-out tasks.
#pragma once

#include "data/source.h"
#include "util/rng.h"

namespace mixflow {

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
