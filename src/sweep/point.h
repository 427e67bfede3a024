// One point of a sweep: a frozen config, how it came about and what its plan needs.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sweep/combinations.h"
#include "sweep/spec.h"

namespace mixflow {

struct Point {
  std::string id;  // lr=0.1_steps=5_seed=1-0123456789ab: settings and a hash of the config
  nlohmann::ordered_json settings;  // key path -> value, of the axes
  std::string config;               // resolved, as YAML; paths are absolute
  int threads = 1;
  bool bf16 = false;         // its products are in bf16
  bool own_threads = false;  // the config says how many, not the sweep
  std::int64_t meta_steps = 0;
  std::int64_t static_bytes = 0, dynamic_bytes = 0;  // planned, of one meta-step
  std::int64_t process_bytes = 0;                    // what the point's process is expected to use
  std::int64_t data_bytes = 0;                       // on top of these while it reads its data
  std::int64_t flop = 0;                             // of one meta-step

  double work() const { return static_cast<double>(flop) * static_cast<double>(meta_steps); }
};

// One line of points.jsonl and back; UserError for other text.
std::string to_line(const Point& point);
Point parse_point(const std::string& line);

// "lr=0.1 steps=5" with short names of the keys.
std::string settings_text(const nlohmann::ordered_json& settings);

struct ResolvedSweep {
  std::string base;  // the resolved base config
  std::vector<Point> points;
  std::size_t left_out = 0;  // combinations, by `when`
  std::size_t repeated = 0;  // combinations with the config of an earlier one
  std::size_t plans = 0;     // made; points share them
};

// The base config of a sweep with what it sets in every point, as YAML, every default written out,
// paths absolute. A base that needs what the axes say has the first value of each.
std::string resolve_base(const SweepSpec& spec);

// All points in order, checked and planned. `threads`: of each point whose config leaves it to us
// (0). Points that differ only in what a plan does not depend on are planned once. Throws UserError
// with the place in the sweep or config file for keys and values that do not fit.
ResolvedSweep resolve_points(const SweepSpec& spec, int threads);

// A sweep that has begun, asked for anew: its own points as they were frozen, then those that are
// new. Points are the same where their resolved configs are. Throws UserError, saying what differs,
// where `now` lacks a point of `saved`.
struct Extension {
  std::vector<Point> points;
  std::size_t added = 0;  // at the end
};
Extension extend(const SweepSpec& spec, const std::string& directory,
                 const std::vector<Point>& saved, const std::vector<Point>& now);

}  // namespace mixflow
