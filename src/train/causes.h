// What commonly makes a meta-step diverge, looked for in its numbers one after the other.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "exec/watch.h"
#include "train/stage_run.h"

namespace mixflow {

// What of a meta-step's inputs tells why it diverged, taken before it runs: it overwrites them.
struct StepFacts {
  struct Extreme {
    std::string tensor;  // "" if there is none
    std::string place;   // of the element
    double value = 0;
    double start = 0;  // where the tensor began
  };
  std::optional<Extreme> decay;          // a beta or momentum outside [0, 1)
  std::optional<Extreme> negative_rate;  // the lowest
  std::optional<Extreme> largest_rate;   // that is learned
  std::optional<Extreme> largest_init;   // of the learned initial weights, by magnitude
  std::optional<Extreme> largest_datum;  // by magnitude
};
StepFacts facts_of(const Experiment& experiment, const StageRun& train);

// The first of the known causes that the facts, the origin and the inner losses (one for each inner
// step) confirm, with its remedy.
std::string likely_cause(const Experiment& experiment, const StepFacts& facts, const Origin& origin,
                         const std::vector<double>& inner_losses, bool loss_is_finite);

}  // namespace mixflow
