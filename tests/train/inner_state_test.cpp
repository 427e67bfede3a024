// The inner state across meta-steps: resets, paths, checkpoints, evaluation, and bias corrections
// far from the start.
#include "train/inner_state.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "configs.h"
#include "meta/hypers.h"
#include "train/checkpoint.h"
#include "train/evaluator.h"
#include "util/error.h"

using namespace mixflow;

namespace {

// Learned rates over T = 2 steps; the state is never reset unless `settings` say so.
Config carrying(const Settings& settings = {}) {
  Settings all = {"inner.steps=2", "inner.reset_every=0", "meta.parameters=[{kind: lr}]"};
  all.insert(all.end(), settings.begin(), settings.end());
  return small_config(all);
}

std::vector<double> values_of(const StageRun& run, const std::string& name) {
  const int i = run.stage().input(name);
  REQUIRE(i >= 0);
  return to_doubles(run.stage().inputs[static_cast<std::size_t>(i)].type, run.input(name).data());
}

// theta_0, once for each of five tasks.
std::vector<double> tiled(const std::vector<double>& theta0) {
  std::vector<double> all;
  for (int n = 0; n < 5; ++n) all.insert(all.end(), theta0.begin(), theta0.end());
  return all;
}

double worst_difference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

constexpr const char* kWeight = "layers.0.weight";

}  // namespace

TEST_CASE("the number of inner steps done follows from the meta-step") {
  InnerConfig inner{.steps = 2, .reset_every = 3};
  std::vector<std::int64_t> done;
  for (std::int64_t t = 0; t <= 7; ++t) done.push_back(inner_steps_after(inner, t));
  CHECK(done == std::vector<std::int64_t>{0, 2, 4, 6, 2, 4, 6, 2});
  inner.reset_every = 0;
  CHECK(inner_steps_after(inner, 0) == 0);
  CHECK(inner_steps_after(inner, 1000000) == 2000000);
  inner.reset_every = 1;
  CHECK(inner_steps_after(inner, 7) == 2);
}

TEST_CASE("the state starts at theta_0, goes on, and returns to it with every reset") {
  const Built built(carrying({"inner.reset_every=3", "inner.optimizer.kind=adam"}));
  StageRun run(built.experiment.train, {});
  draw_initial_values(built.experiment, run);
  const std::string theta = carried_theta_name(kWeight);
  const std::string m = carried_opt_state_name("m", kWeight);
  const std::vector<double> theta0 = tiled(values_of(run, std::string("theta.") + kWeight));
  CHECK(values_of(run, theta) == theta0);  // before the first meta-step, for evaluation
  std::vector<double> before = theta0;
  for (std::int64_t t = 1; t <= 7; ++t) {
    CAPTURE(t);
    give_step(built, run, t);
    const bool reset = t == 1 || t == 4 || t == 7;
    CHECK(values_of(run, theta) == (reset ? theta0 : before));
    CHECK((values_of(run, m) == std::vector<double>(theta0.size(), 0)) == reset);
    CHECK(values_of(run, "steps_done") == std::vector<double>{reset ? 0.0 : (t - 1) % 3 * 2.0});
    run.run();
    CHECK(values_of(run, theta) != before);
    before = values_of(run, theta);
  }
}

TEST_CASE("meta-steps with a meta-rate of zero end where one long unroll on their data ends") {
  for (const std::string kind : {"sgd", "adam", "adamw", "rmsprop"}) {
    for (const auto& [precision, tolerance] : {std::pair{"f64", 1e-13}, std::pair{"f32", 1e-6}}) {
      for (const std::string chunk : {"1", "5"}) {
        CAPTURE(kind);
        CAPTURE(precision);
        const Settings settings = {"inner.optimizer.kind=" + kind, "gradient.chunk=" + chunk,
                                   std::string("precision=") + precision};
        const Built built(carrying(settings));
        Settings longer = settings;
        longer.push_back("inner.steps=10");
        const Built whole(carrying(longer));
        StageRun run(built.experiment.train, {.threads = 2}), unroll(whole.experiment.grad, {});
        draw_initial_values(built.experiment, run);
        draw_initial_values(whole.experiment, unroll);
        // The same points in every inner step: those of the first meta-step, in both runs.
        give_step(built, run, 1);
        give_step(whole, unroll, 1);
        run.set_scalar("meta_lr", 0);
        for (std::int64_t t = 1; t <= 5; ++t) {
          give_inner_state(built.experiment.config.inner, t, run);
          run.run();
        }
        unroll.run();
        for (const char* tensor : {kWeight, "layers.0.bias", "layers.1.weight", "layers.1.bias"}) {
          const std::vector<double> carried = values_of(run, carried_theta_name(tensor));
          const std::vector<double> expected = unroll.results(std::string("theta_T.") + tensor);
          CHECK(worst_difference(carried, expected) < tolerance);
          CHECK(worst_difference(carried, tiled(values_of(run, std::string("theta.") + tensor))) >
                1e-3);
        }
      }
    }
  }
}

TEST_CASE("bias corrections keep their digits in f32 after any number of steps") {
  constexpr std::int64_t kSteps = 2;
  for (const double beta : {0.5, 0.9, 0.999, 0.9999, 0.999999}) {
    for (const bool learned : {true, false}) {
      CAPTURE(beta);
      CAPTURE(learned);
      const InnerConfig inner{
          .optimizer = {.kind = OptimizerKind::adam, .beta1 = beta, .beta2 = beta}};
      std::vector<EtaTensor> eta;
      if (learned) eta = {{.name = "eta.beta1", .kind = MetaKind::beta1}};
      const std::vector<Parameter> parameters = {{.name = "w", .shape = {3}}};
      const Hypers hypers(inner, eta, parameters);
      Stage stage;
      Builder b;
      Ids eta_ids;
      if (learned) eta_ids.push_back(b.input({DType::f32, {}}));
      const Id done = b.input({DType::f32, {}});
      const Ids shared = hypers.compute(b, eta_ids, kSteps, DType::f32, done);
      const std::size_t unbias1 = learned ? 1 : 0;
      REQUIRE(hypers.shared()[unbias1].kind == Hypers::Shared::Kind::unbias);
      stage.graph = b.finish({shared[unbias1]});
      if (learned) stage.inputs.push_back({"beta", Role::scalar, {DType::f32, {}}});
      stage.inputs.push_back({"done", Role::scalar, {DType::f32, {}}});
      stage.outputs.push_back({"unbias", Role::result, {DType::f32, {kSteps}}});
      StageRun run(stage, {});
      run.set_scalar("beta", beta);
      // The rounding of beta itself is not the formula's: 1 - beta has few digits left of it.
      const double rounded = static_cast<double>(static_cast<float>(beta));
      const double given = learned ? rounded : beta;
      const double tolerance =
          1e-6 + (learned ? 0 : std::abs(rounded - beta) / std::min(beta, 1 - beta));
      for (const double steps : {0.0, 1.0, 2.0, 30.0, 1000.0, 123456.0, 16777000.0}) {
        CAPTURE(steps);
        run.set_scalar("done", steps);
        run.run();
        const std::vector<double> got = run.results("unbias");
        for (std::size_t i = 0; i < 2; ++i) {
          const double t = steps + static_cast<double>(i) + 1;
          const double expected = -1 / std::expm1(t * std::log(given));
          CHECK(std::abs(got[i] / expected - 1) < tolerance);
        }
      }
    }
  }
}

TEST_CASE(
    "a checkpoint holds the carried state, so that a resumed run goes on with the same bits") {
  const TemporaryDirectory directory;
  const Built built(carrying({"inner.optimizer.kind=momentum", "inner.reset_every=4"}));
  StageRun run(built.experiment.train, {}), other(built.experiment.train, {});
  draw_initial_values(built.experiment, run);
  draw_initial_values(built.experiment, other);
  for (std::int64_t t = 1; t <= 2; ++t) {
    give_step(built, run, t);
    run.run();
  }
  save_checkpoint(directory.path, {.step = 2}, run);
  REQUIRE(load_checkpoint(directory.path, other).has_value());
  for (std::int64_t t = 3; t <= 6; ++t) {
    for (StageRun* each : {&run, &other}) {
      give_step(built, *each, t);
      each->run();
    }
    for (const Port& port : run.stage().inputs) {
      const auto a = run.input(port.name), b = other.input(port.name);
      CHECK_MESSAGE(std::memcmp(a.data(), b.data(), a.size()) == 0, port.name);
    }
  }
}

TEST_CASE("a checkpoint without the carried state is refused") {
  const TemporaryDirectory directory;
  const Built built(carrying()), plain(carrying({"inner.reset_every=1"}));
  StageRun run(built.experiment.train, {}), without(plain.experiment.train, {});
  save_checkpoint(directory.path, {.step = 1}, without);
  CHECK(message_of<UserError>([&] {
          load_checkpoint(directory.path, run);
        }).find("expected tensor inner_state.theta.layers.0.weight f32[5,1,6], which is missing") !=
        std::string::npos);
}

// A training run and its evaluator, in one arena.
struct Evaluated {
  ProgramPtr train_program;
  EvalPrograms programs;
  StageRun run;
  Evaluator evaluator;

  explicit Evaluated(const Built& built)
      : train_program(compile_stage(built.experiment.train, {})),
        programs(compile_evals(built.experiment, {})),
        run(built.experiment.train, train_program,
            {.arena = std::make_shared<Arena>(arena_bytes(), Arena::Kind::touched)}),
        evaluator(built.experiment, *built.source, programs, run) {
    draw_initial_values(built.experiment, run);
  }

 private:
  std::int64_t arena_bytes() const {
    return std::max(train_program->dynamic_bytes, programs.dynamic_bytes());
  }
};

TEST_CASE("an evaluation reports the carried state's loss as it stands, and without one none") {
  const Built built(carrying({"meta.eval.tasks=12", "meta.eval.steps=[0]"}));
  Evaluated evaluated(built);
  StageRun& run = evaluated.run;
  for (std::int64_t t = 1; t <= 3; ++t) {
    give_step(built, run, t);
    run.run();
  }
  const EvalResult result = evaluated.evaluator.run(Split::test, 3);
  CHECK(result.state_inner_steps == 6);
  REQUIRE(result.state_loss.has_value());
  // 12 held-out tasks are met by five states in three rounds.
  StageRun stage(built.experiment.state_eval, {});
  for (const Port& port : stage.stage().inputs) {
    if (port.role != Role::inner_state) continue;
    std::ranges::copy(run.input(port.name), stage.input(port.name).begin());
  }
  double sum = 0;
  for (std::uint64_t round = 0; round < 3; ++round) {
    stage.fill(*built.source, Split::test, round, Precision::f32);
    stage.run();
    for (const double loss : stage.results("state_loss")) sum += loss;
  }
  CHECK(*result.state_loss == doctest::Approx(sum / 15).epsilon(1e-12));
  reset_inner_state(run);
  CHECK(*evaluated.evaluator.run(Split::test, 0).state_loss != *result.state_loss);

  const Built plain(carrying({"inner.reset_every=1"}));
  CHECK_FALSE(Evaluated(plain).evaluator.run(Split::test, 1).state_loss.has_value());
}
