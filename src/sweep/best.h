// Which settings of a sweep did best.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "sweep/point.h"

namespace mixflow {

// Of points that can be compared: evaluated on the same split after the same number of inner steps,
// with the same settings of data, inner loss and vocabulary. Their settings, but for the seed, with
// the lowest mean of the held-out loss over seeds.
struct BestSettings {
  std::string settings;    // "lr=0.1"; "" where only seeds differ
  std::string point;       // its first point
  double loss = 0;         // mean over seeds
  std::int64_t seeds = 0;  // done
  std::string split;       // validation, or test where there is no other
  std::int64_t inner_steps = 0;
  std::string among;           // the settings that set these points apart from others: "steps=5"
  std::size_t candidates = 0;  // settings that were compared
};

// One for each set of comparable points, in their order. `result`: what the ledger says of a point
// that is done ("loss", "split", "inner_steps"), null for others and for losses that are not
// finite. Settings with fewer seeds done than others of their set are not chosen.
std::vector<BestSettings> best_settings(
    std::span<const Point* const> points,
    const std::function<nlohmann::ordered_json(const Point&)>& result);

// "Best validation loss after 5 inner steps, mean over 3 seeds, of 4 settings: 0.231, lr=0.1", with
// what is to be said of a choice by test.
std::string to_text(const BestSettings& best);

}  // namespace mixflow
