// A sweep file: a base config and what is varied over it.
//
//   base: quickstart.yaml                  # relative to the current directory, else to this file's
//   name: rates                            # names the directory runs/<name>; default: the file's
//   set: {meta.steps: 500}                 # the same in every point
//   grid: {inner.steps: [1, 2, 5], inner.optimizer.lr: [0.01, 0.1]}    # every combination
//   zip: {meta.batch: [4, 8], meta.steps: [800, 400]}     # side by side, equal lengths
//   list: [{gradient.mode: reverse}, {gradient.chunk: 5}] # point by point; as a map
//                                          # {key: [values]}, one point per value of each key alone
//   random: {samples: 20, seed: 1, meta.optimizer.lr: {log_uniform: [1e-4, 1e-1]}}
//                                          # or {uniform: [low, high]}, {choice: [..]}, [..]
//   seeds: [1, 2, 3]                       # every point with each seed
//   when: steps * batch <= 20              # or a list of conditions; others are left out
//   memory: 2GiB                           # the most that the process of a point may use
//
// The blocks multiply: grid x zip x list x random x seeds, the first varying slowest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "config/yaml.h"

namespace mixflow {

struct Setting {
  std::string key;  // its path
  TextPlace place;
  YamlNode value;
};

// A key and the values it takes.
struct Axis {
  std::string key;
  TextPlace place;
  std::vector<YamlNode> values;
};

struct RandomAxis {
  enum class Kind : std::uint8_t { uniform, log_uniform, choice } kind = Kind::choice;
  std::string key;
  TextPlace place;
  double low = 0, high = 0;       // uniform, log_uniform
  bool whole = false;             // integers only, both ends included
  std::vector<YamlNode> choices;  // choice
};

struct Condition {
  std::string text;
  TextPlace place;
  bool exact = false;  // the text stands in the file as it is, so that characters have places
};

struct SweepSpec {
  std::string file, name, base;
  TextPlace base_place;
  std::vector<Setting> set;
  std::vector<Axis> grid, zip;
  std::vector<std::vector<Setting>> list;
  std::int64_t samples = 0;  // of `random`
  std::uint64_t random_seed = 1;
  std::vector<RandomAxis> random;
  std::optional<Axis> seeds;
  std::vector<Condition> when;
  std::string memory;             // as it is written; empty: from each point's plan
  std::int64_t memory_bytes = 0;  // the same on this machine

  // Every key path that varies, in the order of the blocks.
  std::vector<std::string> axes() const;
};

// Reads a sweep file. Throws UserError "file:line:column: .." for whatever is wrong with the file
// itself; whether keys and values fit the config shows when points are made (points.h).
SweepSpec load_sweep(const std::string& path);

// What the file says apart from `base`, in one form however it was written.
std::string spec_text(const SweepSpec& spec);

}  // namespace mixflow
