// Runs the points of a sweep that nobody has run and nobody is running, several at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sweep/best.h"
#include "sweep/sweep_dir.h"

namespace mixflow {

struct SweepOptions {
  int jobs = 1;                   // points at a time
  int shard = 1, shards = 1;      // this process runs every shards-th point, from the shard-th
  std::int64_t memory_bytes = 0;  // for all points at a time
  std::int64_t point_bytes = 0;   // the most of one; 0: from its plan
  bool retry_failed = false;
  bool progress = true;
  // A process on another machine counts as dead when its heartbeats have stayed out for so long.
  double stale_seconds = 120, heartbeat_seconds = 15;
};

struct SweepSummary {
  struct Problem {
    std::string point;
    std::string kind;  // "skipped", or Failure::kind
    std::string reason;
  };
  // Of the points of the shard.
  std::size_t points = 0, done = 0, failed = 0, skipped = 0;
  bool interrupted = false;
  std::vector<Problem> problems;
  std::vector<BestSettings> best;
};

// Every shards-th point, from the shard-th (counted from 1).
std::vector<const Point*> of_shard(const std::vector<Point>& points, int shard, int shards);

// Until every point of the shard is done, failed or (too large for this machine) skipped, here or
// by other processes; or until a signal, after which runs write checkpoints and are given back.
// Throws RunError for a disk that fails; points that run then are given back by their claims.
SweepSummary run_sweep(const SweepDir& directory, const std::vector<Point>& points,
                       const SweepOptions& options);

}  // namespace mixflow
