#include "sweep/point.h"

#include <doctest/doctest.h>

#include <fstream>
#include <set>

#include "../util/testing.h"
#include "config/load.h"
#include "config/names.h"
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
  CHECK(directory.is_same(spec, resolve_base(spec)));
  const std::string points = read_text(work / "out/points.jsonl");
  directory.create(spec, work.resolved("grid: {inner.steps: [7]}\n"));  // the first one stays
  CHECK(read_text(work / "out/points.jsonl") == points);

  const SweepSpec other = work.spec("grid: {inner.steps: [1, 3]}\n");
  CHECK_FALSE(directory.is_same(other, sweep.base));
  CHECK(message_of<UserError>([&] { directory.add(other, resolve_points(other, 1)); }) ==
        work / "s.yaml" + ": has no point steps=2, which the sweep in " + (work / "out") +
            " has; a sweep can be extended by values, seeds and points, but keeps those it has: "
            "add them again, or start anew with another --out");
  std::ofstream(work / "base.yaml", std::ios::app) << "inner: {optimizer: {lr: 0.5}}\n";
  const SweepSpec changed = work.spec(text);
  CHECK(message_of<UserError>([&] { directory.add(changed, resolve_points(changed, 1)); }) ==
        work / "base.yaml" + ": the base config has changed since the sweep in " + (work / "out") +
            " began, and with it the point steps=1: inner.optimizer.lr: it had \"lr: 0.01\", now "
            "\"lr: 0.5\". Restore it to continue, or start anew with another --out");
  CHECK(read_text(work / "out/points.jsonl") == points);
  // A change that no point sees is none.
  const SweepSpec same = work.spec("set: {inner.optimizer.lr: 0.01}\n" + text);
  CHECK(directory.add(same, resolve_points(same, 1)) == 0);
  CHECK(read_text(work / "out/points.jsonl") == points);
  CHECK(directory.is_same(same, resolve_base(same)));

  directory.prepare(sweep.points[0]);
  CHECK(read_text(directory.run(sweep.points[0]) / "config.yaml") == sweep.points[0].config);
}

TEST_CASE("a sweep is extended by values, seeds and axes; what it has stays as it was frozen") {
  const Workplace work;
  const SweepDir directory(work.path / "out");
  const SweepSpec spec = work.spec("grid: {inner.steps: [1, 2]}\nseeds: [1, 2]\n");
  directory.create(spec, resolve_points(spec, 1));
  const std::string points = read_text(work / "out/points.jsonl");
  // The steps that were there, at the rate that the base has.
  const SweepSpec more = work.spec(
      "grid: {inner.optimizer.lr: [0.02, 0.01], inner.steps: [3, 2, 1]}\nseeds: [1, 2, 3]\n");
  CHECK(directory.add(more, resolve_points(more, 1)) == 14);
  const std::string now = read_text(work / "out/points.jsonl");
  CHECK(now.starts_with(points));
  CHECK(directory.points().size() == 18);
  std::set<std::string> ids, configs;
  for (const Point& point : directory.points()) {
    ids.insert(point.id);
    configs.insert(point.config);
  }
  CHECK(ids.size() == 18);
  CHECK(configs.size() == 18);
  CHECK(directory.is_same(more, resolve_base(more)));
}

TEST_CASE("a section is set before its keys, whichever axis stands first") {
  const Workplace work;
  const auto rates = [&](const std::string& text) {
    std::vector<std::pair<std::string, double>> found;
    for (const Point& point : work.resolved(text).points) {
      const Config config = parse_config(point.config, "c.yaml");
      found.emplace_back(name_of(config.inner.optimizer.kind), config.inner.optimizer.lr);
    }
    std::ranges::sort(found);
    return found;
  };
  const std::vector<std::pair<std::string, double>> four = {
      {"adam", 0.1}, {"adam", 0.2}, {"sgd", 0.1}, {"sgd", 0.2}};
  const std::string kinds = "inner.optimizer: [{kind: sgd}, {kind: adam}]";
  CHECK(rates("grid: {inner.optimizer.lr: [0.1, 0.2], " + kinds + "}\n") == four);
  CHECK(rates("grid: {" + kinds + ", inner.optimizer.lr: [0.1, 0.2]}\n") == four);
  CHECK(rates("list: [{inner.optimizer: {kind: sgd}}, {inner.optimizer: {kind: adam}}]\n"
              "grid: {inner.optimizer.lr: [0.1, 0.2]}\n") == four);
  CHECK(rates("list: {" + kinds + "}\nzip: {inner.optimizer.lr: [0.1, 0.2]}\n") == four);
  CHECK(rates("random: {samples: 40, inner.optimizer.lr: [0.1, 0.2], inner.optimizer: "
              "[{kind: sgd}, {kind: adam}]}\n") == four);
  const std::vector<std::pair<std::string, double>> two = {{"adam", 0.1}, {"sgd", 0.1}};
  CHECK(rates("set: {inner.optimizer.lr: 0.1}\ngrid: {" + kinds + "}\n") == two);
  CHECK(message_of<UserError>([&] {
          work.resolved(
              "grid: {inner.optimizer.lr: [0.1]}\nlist: [{inner.optimizer: {kind: sgd, lr: "
              "0.5}}]\n");
        }) == work / "s.yaml" + ":2:8: inner.optimizer.lr: is also said by inner.optimizer at " +
                  (work / "s.yaml") +
                  ":3:26; keep one of the two (in the point lr=0.1 optimizer=..)");
}

TEST_CASE("a base may need what the sweep sets, or what its axes say") {
  const Workplace work;
  std::ofstream(work / "base.yaml") << "model: {kind: mlp}\nmeta: {parameters: [{kind: init}]}\n";
  CHECK(work.resolved("set: {data.kind: sinusoid}\nseeds: [1, 2]\n").points.size() == 2);
  CHECK(work.resolved("grid: {data.kind: [sinusoid], inner.steps: [1, 2]}\nwhen: steps > 1\n")
            .points.size() == 1);
  CHECK(message_of<UserError>([&] {
          work.resolved("seeds: [1]\n");
        }).starts_with(work / "base.yaml" + ":1:1: data: missing; "));
}
