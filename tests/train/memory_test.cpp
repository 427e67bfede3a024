// The promise of the plan: dynamic bytes planned before anything runs are those that a run touches.
#include <doctest/doctest.h>

#include "configs.h"

using namespace mixflow;

namespace {

struct Layout {
  int chunk, threads;
};
const std::vector<Layout> kLayouts = {{1, 1}, {5, 1}, {1, 2}, {5, 2}};

// Both sides of one stage's promise, over two runs: the second must not need more.
void check_stage(const Built& built, const Stage& stage, int threads) {
  StageRun run(stage, plan_options(built.experiment.config, threads));
  draw_initial_values(built.experiment, run);
  for (std::int64_t t = 1; t <= 2; ++t) {
    give_step(built, run, t);
    run.run();
    CHECK(run.executor().arena_peak_bytes() == run.program().dynamic_bytes);
  }
  std::int64_t bytes = 0;
  for (const Port& port : stage.inputs) bytes += port.type.bytes();
  CHECK(run.program().static_bytes == bytes);
}

void check_all(const std::string& what, const auto& make_config, Settings settings, bool chunks) {
  CAPTURE(what);
  static std::size_t turn = 0;
  for (const std::string mode : {"mixed", "reverse", "first_order"}) {
    for (std::size_t i = 0; i < kLayouts.size(); ++i) {
      if (!kThorough && i != turn % kLayouts.size()) continue;
      const Layout layout = kLayouts[i];
      if (!chunks && layout.chunk > 1) continue;
      if (mode == "first_order" && what.find("l2") != std::string::npos) continue;
      CAPTURE(mode);
      CAPTURE(layout.chunk);
      CAPTURE(layout.threads);
      Settings all = settings;
      all.push_back("gradient.mode=" + mode);
      if (chunks) all.push_back("gradient.chunk=" + std::to_string(layout.chunk));
      const Built built(make_config(all));
      check_stage(built, built.experiment.train, layout.threads);
    }
    ++turn;
  }
}

Config carried_lr(Settings settings) {
  settings.insert(settings.begin(), {"inner.reset_every=0", "meta.parameters=[{kind: lr}]"});
  return small_config(settings);
}

}  // namespace

TEST_CASE("planned dynamic bytes are the measured ones for every inner optimiser") {
  for (const std::string kind : {"sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop"})
    check_all("optimizer " + kind, small_config, {"inner.optimizer.kind=" + kind}, true);
}

TEST_CASE("planned dynamic bytes are the measured ones for every kind of meta-parameter") {
  const std::pair<std::string, std::string> kinds[] = {
      {"lr", "sgd"},     {"momentum", "nesterov"},  {"beta1", "adam"},
      {"beta2", "adam"}, {"weight_decay", "adamw"}, {"l2", "sgd"}};
  for (const auto& [kind, optimizer] : kinds) {
    for (const std::string granularity : {"scalar", "per_tensor", "per_parameter", "per_step"}) {
      Settings settings = {
          "meta.parameters=[{kind: " + kind + ", granularity: " + granularity + "}]",
          "inner.optimizer.kind=" + optimizer};
      if (kind == "l2") settings.push_back("inner.l2=0.1");
      check_all(kind + " " + granularity, small_config, settings, true);
    }
  }
  check_all("init and lr", small_config, {"meta.parameters=[{kind: init}, {kind: lr}]"}, true);
}

TEST_CASE("planned dynamic bytes are the measured ones for windows, unrolls and remat switches") {
  for (const std::string window : {"1", "2", "6"})
    check_all("window " + window, small_config,
              {"inner.steps=6", "inner.window=" + window, "meta.parameters=[{kind: lr}]",
               "inner.optimizer.kind=adam"},
              true);
  for (const std::string steps : {"1", "2", "9"})
    check_all("steps " + steps, small_config, {"inner.steps=" + steps}, true);
  for (const std::string remat : {"{step: false}", "{save_inner_grads: false}", "{block: false}",
                                  "{policy: {reuse: 1}}", "{policy: {reuse: 2}}"})
    check_all("remat " + remat, small_config,
              {"gradient.remat=" + remat, "inner.optimizer.kind=momentum"}, true);
}

TEST_CASE("planned dynamic bytes are the measured ones where the inner state is carried on") {
  for (const std::string kind : {"sgd", "nesterov", "adam"}) {
    for (const std::string inner : {"{steps: 2}", "{steps: 5, window: 2}"}) {
      check_all("carried " + kind + " " + inner, small_config,
                {"inner=" + inner, "inner.reset_every=0", "inner.optimizer.kind=" + kind,
                 "meta.parameters=[{kind: lr, granularity: per_tensor}]"},
                true);
    }
  }
  // The next states lie over the carried ones: only one task's is held twice at a time.
  const auto dynamic_bytes = [](const std::string& tasks) {
    const Built built(carried_lr({"inner.optimizer.kind=adam", "meta.batch=" + tasks}));
    return compile(built.experiment.train.graph, donations_of(built.experiment.train), {})
        ->dynamic_bytes;
  };
  const std::int64_t state_bytes = 3 * (6 + 6 + 6 + 1) * 4;  // theta, m and v
  CHECK(dynamic_bytes("12") - dynamic_bytes("4") < 2 * state_bytes);
  const Built built(carried_lr({"inner.reset_every=2"}));
  for (const int threads : {1, 2}) check_stage(built, built.experiment.state_eval, threads);
}

TEST_CASE(
    "planned dynamic bytes are the measured ones for classification on batches and on whole "
    "splits") {
  const TabularFiles files;
  const auto make = [&](const Settings& settings) { return files.config(settings); };
  check_all("batches", make, {"inner.optimizer.kind=adam"}, false);
  check_all("whole splits", make, {"data.batch=0"}, false);
  check_all("per-parameter rates", make,
            {"meta.parameters=[{kind: lr, granularity: per_parameter, transform: exp}]"}, false);
}

TEST_CASE("planned dynamic bytes are the measured ones for the other stages, and in f64") {
  for (const std::string precision : {"f32", "f64"}) {
    const Built built(small_config({"precision=" + precision, "inner.optimizer.kind=adam"}));
    for (const Stage* stage : {&built.experiment.grad, &built.experiment.objective,
                               &built.experiment.eval, &built.experiment.train})
      for (const int threads : {1, 2}) check_stage(built, *stage, threads);
  }
}

TEST_CASE("planned dynamic bytes are the measured ones for transformers on one and two threads") {
  const std::vector<Settings> choices = transformer_choices();
  for (std::size_t i = 0; i < choices.size(); ++i) {
    // No choice of remat stays with one number of threads: there are sixteen of them.
    const int threads = (i + i / 16) % 2 == 0 ? 1 : 2;
    CAPTURE(choices[i]);
    CAPTURE(threads);
    const Built built(transformer_config(choices[i]));
    check_stage(built, built.experiment.train, threads);
  }
}

TEST_CASE("planned dynamic bytes are the measured ones where products are rounded to bf16") {
  for (const std::string blocks : {"{attention: 48, feed_forward: 48}", "{attention: 0}"}) {
    if (!kThorough && blocks == "{attention: 0}") continue;
    const Built built(transformer_config({"data.sequence=96", "model.vocab=64", "model.d_model=64",
                                          "model.ffw=96", "model.kv_size=48", "precision=bf16",
                                          "gradient.blocks=" + blocks}));
    for (const int threads : {1, 2}) check_stage(built, built.experiment.train, threads);
  }
}

TEST_CASE("each step that reuses saves work and costs memory, if its gradient is differentiated" *
          doctest::skip(!kThorough)) {
  struct Cost {
    std::int64_t bytes, flop;
  };
  struct Learned {
    std::string parameter;
    std::int64_t differentiated_again;
    Settings settings;
  };
  const std::vector<Learned> all = {
      {"{kind: init}", 4, {}},
      {kScorer, 4, {}},
      // The first step starts from constants.
      {kRatesPerWeight, 3, {}},
      {"{kind: l2, granularity: per_tensor}", 3, {"inner.l2=0.1"}},
      {kRatesPerWeight, 1, {"inner.window=2"}},
      {kRatesPerWeight, 0, {"gradient.mode=first_order"}},
  };
  for (const auto& [parameter, differentiated_again, settings] : all) {
    const auto cost = [&](std::int64_t reuse) {
      Settings with = {"inner={steps: 4, optimizer: {kind: adam}}",
                       "meta={batch: 1, parameters: [" + parameter + "]}", "data.sequence=24",
                       "data.batch=4",
                       "gradient.remat={policy: {gradients: dots, second_order: dots, reuse: " +
                           std::to_string(reuse) + "}}"};
      with.insert(with.end(), settings.begin(), settings.end());
      const Built built(transformer_config(with));
      const Stage& stage = built.experiment.train;
      const ProgramPtr plan = compile(stage.graph, donations_of(stage), {});
      return Cost{plan->dynamic_bytes, plan->flop};
    };
    CAPTURE(parameter);
    CAPTURE(differentiated_again);
    Cost before = cost(0);
    for (const std::int64_t reuse : {1, 2, 3, 4}) {
      CAPTURE(reuse);
      const Cost now = cost(reuse);
      if (reuse <= differentiated_again) {
        CHECK(now.flop < before.flop);
        CHECK(now.bytes > before.bytes);
      } else {
        CHECK(now.flop == before.flop);
        CHECK(now.bytes == before.bytes);
      }
      before = now;
    }
    const Cost every_step = cost(-1);
    CHECK(every_step.flop == before.flop);
    CHECK(every_step.bytes == before.bytes);
  }
}
