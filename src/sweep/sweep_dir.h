// The directory of a sweep:
//
//   sweep.yaml       what was asked for, in one form; written last: where it is, the sweep is whole
//   base.yaml        the base config and what is set in every point, every default written out
//   points.jsonl     every point: id, settings, frozen config, plan (point.h)
//   ledger.jsonl     what happened to each (ledger.h)
//   claims/          who runs what (claim.h)
//   points/<id>/     a run directory as `train` writes it, and
//     point.json       the point's id and settings
//     stderr.txt       what its process printed there
//     outcome.json     how it ended (train/outcome.h)
//
// Everything but the ledger and the points' directories stays as it is from the start on, unless
// the sweep is extended: then points are appended, and those that were there stay.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sweep/point.h"

namespace mixflow {

class SweepDir {
 public:
  explicit SweepDir(std::filesystem::path path) : path_(std::move(path)) {}

  bool holds_sweep() const;

  // Writes a new sweep; where another process has done so in the meantime, nothing. Throws
  // UserError (the directory cannot be made, or holds something else) or RunError (disk).
  void create(const SweepSpec& spec, const ResolvedSweep& sweep) const;

  // Whether the sweep that is there was asked for by this file and this base config, word for word.
  bool is_same(const SweepSpec& spec, const std::string& base) const;

  // Adds to the sweep that is there the points of `sweep` that it lacks (point.h: extend), and
  // returns how many. Throws UserError, saying what differs, where it would lose others.
  std::size_t add(const SweepSpec& spec, const ResolvedSweep& sweep) const;

  // Throws UserError for a file that is missing or damaged.
  std::vector<Point> points() const;

  // Makes the point's run directory with its frozen config.
  void prepare(const Point& point) const;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path ledger() const { return path_ / "ledger.jsonl"; }
  std::filesystem::path claims() const { return path_ / "claims"; }
  std::filesystem::path run(const Point& point) const { return path_ / "points" / point.id; }

 private:
  void make_directory(const std::filesystem::path& path) const;

  std::filesystem::path path_;
};

}  // namespace mixflow
