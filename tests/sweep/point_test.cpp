#include "sweep/point.h"

#include <doctest/doctest.h>

#include <fstream>
#include <set>

#include "../util/testing.h"
#include "config/load.h"
#include "sweep/sweep_dir.h"
#include "util/error.h"
#include "util/file.h"

using namespace mixflow;

namespace {

struct Workplace : TemporaryDirectory {
  Workplace() {
    std::ofstream(*this / "base.yaml")
        << "data: {kind: sinusoid}\nmodel: {kind: mlp, hidden: [8]}\n"
           "meta: {parameters: [{kind: init}], steps: 10}\n";
  }
  SweepSpec spec(const std::string& text) const {
    std::ofstream(*this / "s.yaml") << "base: base.yaml\n" << text;
    return load_sweep(*this / "s.yaml");
  }
  ResolvedSweep resolved(const std::string& text, int threads = 1) const {
    return resolve_points(spec(text), threads);
  }
};

}  // namespace

TEST_CASE("points have readable names, frozen configs and plans") {
  const Workplace work;
  const ResolvedSweep sweep = work.resolved(
      "set: {meta.batch: 3}\ngrid: {model.hidden: [[8], [64, 64]], inner.optimizer.lr: [0.1]}\n"
      "seeds: [1, 2]\n");
  REQUIRE(sweep.points.size() == 4);
  std::set<std::string> ids;
  for (const Point& point : sweep.points) ids.insert(point.id);
  CHECK(ids.size() == 4);
  const Point& point = sweep.points[2];
  CHECK(point.id.starts_with("hidden=64x64_lr=0.1_seed=1-"));
  CHECK(point.id.size() == std::string("hidden=64x64_lr=0.1_seed=1-0123456789ab").size());
  const Config config = parse_config(point.config, "c.yaml");
  CHECK(config.meta.batch == 3);
  CHECK(config.inner.optimizer.lr == 0.1);
  CHECK(config.threads == 1);
  CHECK(dump_config(config) == point.config);
  CHECK(point.dynamic_bytes > sweep.points[0].dynamic_bytes);
  CHECK(point.dynamic_bytes == sweep.points[3].dynamic_bytes);
  CHECK(point.process_bytes > point.static_bytes + point.dynamic_bytes);
  CHECK(point.flop > 0);

  const Point back = parse_point(to_line(point));
  CHECK(to_line(back) == to_line(point));
  CHECK_THROWS_AS(parse_point("{}"), UserError);
  // What the sweep chooses leaves names alone.
  const ResolvedSweep wider = work.resolved(
      "set: {meta.batch: 3}\ngrid: {model.hidden: [[8], [64, 64]], inner.optimizer.lr: [0.1]}\n"
      "seeds: [1, 2]\n",
      2);
  CHECK(wider.points[2].threads == 2);
  CHECK(wider.points[2].id == point.id);
}

TEST_CASE("combinations that come to the same config are one point") {
  const Workplace work;
  const ResolvedSweep sweep = work.resolved("grid: {inner.steps: [1, 1.0, 2]}\n");
  CHECK(sweep.points.size() == 2);
  CHECK(sweep.repeated == 1);
  CHECK(work.resolved("grid: {threads: [1, 2]}\n").points.size() == 2);
}

TEST_CASE("thousands of points that differ in no size share a plan") {
  const Workplace work;
  const ResolvedSweep sweep =
      work.resolved("random: {samples: 2000, inner.optimizer.lr: {log_uniform: [1e-4, 1]}}\n");
  CHECK(sweep.points.size() > 1900);
  CHECK(sweep.plans == 1);
  CHECK(sweep.points.front().dynamic_bytes == sweep.points.back().dynamic_bytes);
  CHECK(work.resolved("grid: {inner.optimizer.lr: [0.1, 0.2], inner.steps: [1, 2]}\n").plans == 2);
}

TEST_CASE("a directory keeps its sweep, and says what differs from it") {
  const Workplace work;
  const std::string text = "grid: {inner.steps: [1, 2]}\n";
  const SweepSpec spec = work.spec(text);
  const SweepDir directory(work.path / "out");
  CHECK_FALSE(directory.holds_sweep());
  const ResolvedSweep sweep = resolve_points(spec, 1);
  directory.create(spec, sweep);
  CHECK(directory.holds_sweep());
  CHECK(directory.points().size() == 2);
  directory.check_same(spec, resolve_base(spec));
  const std::string points = read_text(work / "out/points.jsonl");
  directory.create(spec, work.resolved("grid: {inner.steps: [7]}\n"));  // the first one stays
  CHECK(read_text(work / "out/points.jsonl") == points);

  const SweepSpec other = work.spec("grid: {inner.steps: [1, 3]}\n");
  CHECK(
      message_of<UserError>([&] { directory.check_same(other, sweep.base); }) ==
      work / "s.yaml" + ": the sweep has changed since the one in " + (work / "out") +
          " began: grid.inner.steps: it had \"inner.steps: [1, 2]\", now \"inner.steps: [1, 3]\". "
          "Restore it to continue, or start anew with another --out");
  std::ofstream(work / "base.yaml", std::ios::app) << "inner: {optimizer: {lr: 0.5}}\n";
  CHECK(message_of<UserError>([&] { directory.check_same(spec, resolve_base(spec)); }) ==
        work / "base.yaml" + ": the base config has changed since the sweep in " + (work / "out") +
            " began: inner.optimizer.lr: it had \"lr: 0.01\", now \"lr: 0.5\". Restore it to "
            "continue, or start anew with another --out");

  directory.prepare(sweep.points[0]);
  CHECK(read_text(directory.run(sweep.points[0]) / "config.yaml") == sweep.points[0].config);
}
