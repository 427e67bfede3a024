#include "train/threads.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "../kernels/denormals.h"
#include "configs.h"
#include "kernels/cpu.h"
#include "kernels/team.h"

using namespace mixflow;

namespace {

// What three meta-steps, planned for three threads, leave of the meta-parameters and their
// optimiser's state; `team` threads share the work.
std::vector<std::byte> bytes_by(int team, const Config& config) {
  start_helpers_anyway(team);
  const Built built(config);
  StageRun run(built.experiment.train, plan_options(config, 3));
  draw_initial_values(built.experiment, run);
  std::vector<std::byte> bytes;
  for (std::int64_t t = 1; t <= 3; ++t) {
    give_step(built, run, t);
    run.run();
  }
  for (const Port& port : built.experiment.train.inputs) {
    if (!outlives_meta_step(port.role)) continue;
    const std::span<std::byte> input = run.input(port.name);
    bytes.insert(bytes.end(), input.begin(), input.end());
  }
  start_helpers_anyway(1);
  return bytes;
}

}  // namespace

TEST_CASE("started threads share work, flush denormals, and are as many as can run") {
  for (const int threads : {1, 2, 3}) {
    CAPTURE(threads);
    CHECK(start_threads(threads) == threads);
    CHECK(team_size() == std::min(threads, usable_threads()));
    volatile float tiny = 1e-39f;
    std::atomic<int> flushed{0};
    run_parts(100, [&](int) {
      // In and out: a denormal read is zero.
      if (flushes_denormals() && tiny * 1e10f == 0.0f) ++flushed;
    });
    CHECK(flushed == 100);
  }
  CHECK(start_threads(0) == usable_cores());
}

TEST_CASE("results depend on the threads that work is divided for, and not on who does it") {
  const Settings large = {
      "data.sequence=64",  "data.batch=2",  "data.outer_batch=2", "model.vocab=96",
      "model.d_model=128", "model.ffw=256", "model.kv_size=64",   "inner.optimizer.kind=adam"};
  Settings rounded = large, exact = large;
  rounded.push_back("precision=bf16");
  exact.push_back("precision=f64");
  std::vector<Config> configs = {small_config({"model.hidden=[40, 40]", "data.shots=50"}),
                                 transformer_config(rounded)};
  if (kThorough) {
    configs.push_back(transformer_config(large));
    configs.push_back(transformer_config(exact));
  }
  for (const Config& config : configs) {
    const std::vector<std::byte> one = bytes_by(1, config);
    CHECK(one.size() > 100);
    CHECK(bytes_by(2, config) == one);
    CHECK(bytes_by(4, config) == one);
  }
}
