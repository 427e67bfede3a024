// Where numbers stop being finite, and why.
#include "train/diagnosis.h"

#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <limits>

#include "configs.h"
#include "train/meta_step.h"

using namespace mixflow;

namespace {

// What is said about meta-step 1 of a config, after `change` of what it reads.
std::string said(const Config& config, const std::function<void(StageRun&)>& change = {}) {
  const Built built(config);
  MetaStep step(built.experiment, *built.source,
                compile_stage(built.experiment.train, plan_options(config, 2)));
  draw_initial_values(built.experiment, step.stage());
  step.prepare(1);
  if (change) change(step.stage());
  return diagnose(built.experiment, step.stage());
}

void put(StageRun& run, const std::string& name, std::size_t element, float value) {
  std::memcpy(run.input(name).data() + element * sizeof value, &value, sizeof value);
}

void has_all(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts)
    CHECK_MESSAGE(text.find(part) != std::string::npos, text << " lacks " << part);
}

}  // namespace

TEST_CASE("a step that is finite has nothing to be explained") {
  CHECK(said(small_config()) == "");
  CHECK(said(small_config({"gradient.remat.inline=false"})) == "");
}

TEST_CASE("inner steps that diverge are named by the step, the task's loop and the operation") {
  for (const std::string inlined : {"true", "false"}) {
    const std::string text =
        said(small_config({"inner.steps=6", "inner.optimizer.lr=1e9", "model.activation=relu",
                           "gradient.remat.inline=" + inlined}));
    has_all(text, {"The first of them came in inner step ", " of 6", " gave ",
                   "Likely cause: the inner loss went from ",
                   "the inner steps diverge. Lower "
                   "inner.optimizer.lr (1e+09)"});
  }
}

TEST_CASE("the step is counted through the steps before the window, too") {
  const std::string text =
      said(small_config({"inner.steps=9", "inner.window=3", "inner.optimizer.lr=1e9",
                         "model.activation=relu", "meta.parameters=[{kind: lr}]"}));
  has_all(text, {"in inner step ", " of 9"});
}

TEST_CASE("a decay outside its range is the cause that is named, before any other") {
  const TabularFiles files;
  const Config config =
      files.config({"inner.optimizer.kind=adam", "meta.parameters=[{kind: lr}, {kind: beta2}]"});
  const std::string text = said(config, [](StageRun& run) { put(run, "eta.beta2", 0, -0.25F); });
  has_all(text, {"Likely cause: beta2 left (0, 1): eta.beta2 is -0.25, ", "`transform: sigmoid`"});
}

TEST_CASE("a root without eps_root is the cause where a gradient is zero") {
  const Config config =
      small_config({"inner.optimizer.kind=adam", "inner.optimizer.eps_root=0", "inner.steps=1"});
  // A unit that no relu lets through has gradients of exactly 0.
  const std::string text = said(config, [](StageRun& run) {
    for (std::size_t e = 0; e < 6; ++e) put(run, "eta.init.layers.1.weight", e, 0);
  });
  has_all(text, {"Likely cause: inner.optimizer.eps_root is 0", "set eps_root to 1e-12 or more"});
}

TEST_CASE("huge data, negative rates and weights that have grown are told by their numbers") {
  const TabularFiles files;
  const auto lr = [&](float value) {
    return said(files.config({"inner.steps=12"}),
                [&](StageRun& run) { put(run, "eta.lr", 0, value); });
  };
  has_all(lr(-1e20F), {"a learned rate is negative: eta.lr is -1e+20 (it began at 0.01)"});
  has_all(lr(3e38F), {"The learned rate eta.lr is 3e+38 (it began at 0.01)"});
  has_all(said(files.config(), [](StageRun& run) { put(run, "data.inner.x", 4, 1e30F); }),
          {"the data are of a huge magnitude: data.inner.x[0, 0, 1, 1] is 1e+30"});
  has_all(
      said(small_config(), [](StageRun& run) { put(run, "eta.init.layers.1.weight", 2, 1e30F); }),
      {"the learned initial weights have grown: eta.init.layers.1.weight[2, 0] is 1e+30"});
  has_all(said(small_config(),
               [](StageRun& run) {
                 put(run, "eta.init.layers.0.bias", 1, std::numeric_limits<float>::infinity());
               }),
          {"eta.init.layers.0.bias[1] was inf before the step"});
}
