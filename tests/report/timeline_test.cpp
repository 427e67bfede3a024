#include "report/timeline.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "config/load.h"
#include "runs.h"
#include "train/baseline.h"
#include "train/progress.h"
#include "train/stage_run.h"

using namespace mixflow;

namespace {

using Settings = std::vector<std::string>;

}  // namespace

TEST_CASE("the timeline's peak is within a tenth of the planned dynamic bytes, phases included") {
  // With learned rates alone the last iteration of the backward pass has a body of its own.
  for (const Settings& own :
       {Settings{"gradient.mode=mixed"}, Settings{"gradient.mode=reverse"},
        Settings{"meta.parameters=[{kind: lr, granularity: per_parameter}]", "inner.steps=3"}}) {
    CAPTURE(own[0]);
    Settings settings = own;
    settings.insert(settings.end(), {"meta.batch=1", "threads=1"});
    Config config =
        load_config(std::string(MIXFLOW_SOURCE_DIR) + "/configs/quickstart.yaml", settings);
    const auto source = make_source(config);
    const Experiment experiment =
        build_experiment(config, *source, compute_type(config), {.train = true});
    const ProgramPtr program = compile_stage(experiment.train, {.threads = 1});
    const std::vector<TimelineSpan> spans = timeline_of(*program);
    CHECK(spans.size() <= 400);
    const auto peak = std::ranges::max(spans, {}, &TimelineSpan::alive_bytes).alive_bytes;
    CHECK(peak <= program->dynamic_bytes);
    CHECK(static_cast<double>(peak) > 0.9 * static_cast<double>(program->dynamic_bytes));
    // One task: nothing is left out, so the FLOPs are those of the plan.
    double flop = 0;
    std::set<std::string> phases;
    for (const TimelineSpan& span : spans) {
      flop += span.flop;
      phases.insert(span.phase);
    }
    CHECK(flop == doctest::Approx(static_cast<double>(program->flop)));
    CHECK(phases.contains("unroll"));
    CHECK(phases.contains("unroll bar"));
    CHECK(phases.contains("meta update"));
  }
}

TEST_CASE("a timeline is planned as the run was: products in bf16 need memory of their own") {
  const TemporaryDirectory directory;
  const std::string text =
      "data: {kind: random_tokens, sequence: 96, batch: 1, outer_batch: 1}\n"
      "model: {kind: transformer, vocab: 2048, d_model: 64, ffw: 96, heads: 2, kv_size: 48, "
      "layers: "
      "1}\ninner: {steps: 1}\nmeta: {parameters: [{kind: init}], batch: 1}\n"
      "gradient: {mode: mixed}\nthreads: 1\nprecision: bf16\n";
  write_run(directory.path / "a", finished(text, 1, 1));
  const Config config = load_config((directory.path / "a/config.yaml").string());
  const auto source = make_source(config);
  const Experiment experiment =
      build_experiment(config, *source, compute_type(config), {.train = true});
  const auto arena = [&](const PlanOptions& options) {
    return "an arena of " + format_bytes(compile_stage(experiment.train, options)->dynamic_bytes) +
           ";";
  };
  REQUIRE(arena(plan_options(config, 1)) != arena({.threads = 1}));
  const Timelines all = timelines(run_set(directory.path));
  REQUIRE(all.plots.size() == 1);
  CHECK(all.plots[0].note.find(arena(plan_options(config, 1))) != std::string::npos);
}

TEST_CASE("a run whose data are gone has a notice instead of a timeline") {
  const TemporaryDirectory directory;
  write_run(directory.path / "a",
            finished("data: {kind: tokens, path: none.npy}\nmodel: {kind: transformer, vocab: 8, "
                     "d_model: 8, ffw: 8, heads: 1, kv_size: 8, layers: 1}\nmeta: {parameters: "
                     "[{kind: init}]}\ngradient: {mode: mixed}\n",
                     1, 1));
  const Timelines all = timelines(run_set(directory.path));
  CHECK(all.plots.empty());
  REQUIRE(all.notices.size() == 1);
  CHECK(all.notices[0].starts_with("No memory timeline of " + directory / "a"));
}
