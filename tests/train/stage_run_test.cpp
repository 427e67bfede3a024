// Stages reached by name, evaluation and checkpoints.
#include "train/stage_run.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "configs.h"
#include "ops/op_list.h"
#include "train/checkpoint.h"
#include "train/evaluator.h"
#include "util/error.h"
#include "util/interval.h"

using namespace mixflow;

namespace {

std::vector<double> values_in(const StageRun& run, const std::string& name) {
  const int i = run.stage().input(name);
  return to_doubles(run.stage().inputs[static_cast<std::size_t>(i)].type, run.input(name).data());
}

}  // namespace

TEST_CASE("a stage's tensors are reached by name, others are a bug") {
  const Built built(small_config());
  StageRun run(built.experiment.train, {});
  CHECK(run.has_input("eta.init.layers.0.weight"));
  CHECK_FALSE(run.has_input("eta.lr"));
  CHECK(run.input("eta.init.layers.0.weight").size() == 6 * sizeof(float));
  CHECK_THROWS_AS(run.input("eta.lr"), InternalError);
  CHECK_THROWS_AS(run.result("nothing"), InternalError);
  run.set_scalar("meta_lr", 0.25);
  CHECK(values_in(run, "meta_lr") == std::vector<double>{0.25});
  run.set_scalar("no_such_scalar", 1);  // stages without it take no notice
}

TEST_CASE("meta-parameters and the meta-optimiser's state are donated, and nothing else") {
  const Built built(small_config());
  const Stage& stage = built.experiment.train;
  const std::vector<Donation> donations = donations_of(stage);
  CHECK(donations.size() == 4 * 3);  // four tensors, Adam
  for (const Donation& donation : donations) {
    const Port& in = stage.inputs[static_cast<std::size_t>(donation.input)];
    const Port& out = stage.outputs[static_cast<std::size_t>(donation.output)];
    CHECK(in.name == out.name);
    CHECK((in.role == Role::eta || in.role == Role::meta_state));
  }
  CHECK(donations_of(built.experiment.grad).empty());
  CHECK(donations_of(built.experiment.eval).empty());

  StageRun run(stage, {});
  draw_initial_values(built.experiment, run);
  const std::vector<double> before = values_in(run, "eta.init.layers.0.weight");
  give_step(built, run, 1);
  run.run();
  CHECK(values_in(run, "eta.init.layers.0.weight") != before);
  CHECK(std::isfinite(run.result("outer_loss")));
  CHECK(run.results("inner_loss").size() == 3);
}

TEST_CASE("starting values depend on the seed alone and are the same numbers in f32 and f64") {
  const Built f32(small_config()), f64(small_config({"precision=f64"})),
      other(small_config({"seed=2"}));
  StageRun a(f32.experiment.train, {}), b(f64.experiment.grad, {}), c(other.experiment.train, {});
  draw_initial_values(f32.experiment, a);
  draw_initial_values(f64.experiment, b);
  draw_initial_values(other.experiment, c);
  const std::string name = "eta.init.layers.0.weight";
  const std::vector<double> narrow = values_in(a, name), wide = values_in(b, name);
  for (std::size_t i = 0; i < narrow.size(); ++i)
    CHECK(narrow[i] == static_cast<double>(static_cast<float>(wide[i])));
  CHECK(values_in(c, name) != narrow);
  for (const double bias : values_in(a, "eta.init.layers.0.bias")) CHECK(bias == 0);
}

TEST_CASE("doubles survive a tensor of every type") {
  for (const DType dtype : {DType::f32, DType::f64, DType::i32}) {
    const Type type{dtype, {2, 2}};
    std::vector<std::byte> bytes(static_cast<std::size_t>(type.bytes()));
    const std::vector<double> values{-3, 0, 7, 1 << 20};
    from_doubles(type, values, bytes.data());
    CHECK(to_doubles(type, bytes.data()) == values);
  }
}

TEST_CASE("parameters are copied between stages, those before a window included") {
  const Built built(small_config({"inner.window=2", "meta.parameters=[{kind: lr}]"}));
  StageRun train(built.experiment.train, {}), objective(built.experiment.objective, {});
  draw_initial_values(built.experiment, train);
  objective.copy_parameters(train);
  CHECK(values_in(objective, "eta.lr") == values_in(train, "eta.lr"));
  REQUIRE(objective.has_input("frozen.eta.lr"));
  CHECK(values_in(objective, "frozen.eta.lr") == values_in(train, "eta.lr"));
  CHECK(values_in(objective, "theta.layers.0.weight") == values_in(train, "theta.layers.0.weight"));
}

TEST_CASE("an evaluation's mean and interval are those of its tasks") {
  const Built built(small_config({"meta.eval.tasks=7", "meta.eval.steps=[0, 2]"}));
  const ProgramPtr program = compile_stage(built.experiment.eval, {});
  const ProgramPtr train_program = compile_stage(built.experiment.train, {});
  const auto bytes = std::max(program->dynamic_bytes, train_program->dynamic_bytes);
  StageRun train(built.experiment.train, train_program,
                 {.arena = std::make_shared<Arena>(bytes, Arena::Kind::touched)});
  draw_initial_values(built.experiment, train);
  Evaluator evaluator(built.experiment, *built.source, {program}, train);
  const EvalResult result = evaluator.run(Split::test, 3);
  CHECK(result.step == 3);
  CHECK(result.tasks == 7);
  CHECK_FALSE(result.has_accuracy);
  REQUIRE(result.points.size() == 2);

  // The same losses, task by task.
  StageRun stage(built.experiment.eval, {});
  stage.copy_parameters(train);
  std::vector<double> losses[2];
  for (std::int64_t i = 0; i * built.experiment.eval_batch < 7; ++i) {
    stage.fill(*built.source, Split::test, static_cast<std::uint64_t>(i), Precision::f32);
    stage.run();
    const std::vector<double> all = stage.results("eval_loss");
    for (std::size_t k = 0; k < all.size(); ++k) losses[k % 2].push_back(all[k]);
  }
  for (std::size_t p = 0; p < 2; ++p) {
    REQUIRE(losses[p].size() == 7);
    double mean = 0, variance = 0;
    for (const double loss : losses[p]) mean += loss / 7;
    for (const double loss : losses[p]) variance += (loss - mean) * (loss - mean) / 6;
    CHECK(result.points[p].loss == doctest::Approx(mean));
    CHECK(result.points[p].loss_ci95 == doctest::Approx(2.446912 * std::sqrt(variance / 7)));
  }
  CHECK(result.points[0].inner_steps == 0);
  CHECK(result.points[1].inner_steps == 2);
  // Always the same tasks.
  const EvalResult again = evaluator.run(Split::test, 3);
  CHECK(to_json(again) == to_json(result));
}

TEST_CASE("a task that is always the same is evaluated once, with intervals over its examples") {
  const TabularFiles files;
  const Built built(files.config(
      {"data.batch=0", "data.validation=0.3", "meta.eval={tasks: 50, steps: [0, 3]}"}));
  REQUIRE(built.source->one_task(Split::test));
  const Experiment& experiment = built.experiment;
  CHECK(experiment.config.meta.eval.tasks == 1);
  REQUIRE(experiment.validation_eval.graph);  // 12 examples, where the test split has 8
  const EvalPrograms programs = compile_evals(experiment, {});
  const ProgramPtr train_program = compile_stage(experiment.train, {});
  const auto bytes = std::max(programs.dynamic_bytes(), train_program->dynamic_bytes);
  StageRun train(experiment.train, train_program,
                 {.arena = std::make_shared<Arena>(bytes, Arena::Kind::touched)});
  draw_initial_values(experiment, train);
  Evaluator evaluator(experiment, *built.source, programs, train);
  for (const auto& [split, examples] :
       {std::pair(Split::test, 8), std::pair(Split::validation, 12)}) {
    const EvalResult result = evaluator.run(split, 0);
    CHECK(result.tasks == 1);
    CHECK(result.examples == examples);
    CHECK(result.trained_on == (split == Split::validation));
    CHECK(result.trained_start);  // no {kind: init} among what is learned
    CHECK(to_text(result).find(std::to_string(examples) + " examples") != std::string::npos);
    const EvalPoint& start = result.points.at(0);
    // Before any step the outputs are those of theta_0: the loss of each example by hand.
    const StageRun* stage = &train;
    const auto values = [&](const char* name) { return values_in(*stage, name); };
    const auto w1 = values("theta.layers.0.weight"), b1 = values("theta.layers.0.bias"),
               w2 = values("theta.layers.1.weight"), b2 = values("theta.layers.1.bias");
    StageRun data(split == Split::test ? experiment.eval : experiment.validation_eval, {});
    data.fill(*built.source, split, 0, Precision::f32);
    const auto x = values_in(data, "data.outer.x"), y = values_in(data, "data.outer.y");
    REQUIRE(static_cast<int>(y.size()) == examples);
    Moments losses;
    double hits = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      std::vector<double> z(3);
      for (std::size_t c = 0; c < 3; ++c) z[c] = b2[c];
      for (std::size_t h = 0; h < 5; ++h) {
        double sum = b1[h];
        for (std::size_t j = 0; j < 3; ++j) sum += x[3 * i + j] * w1[5 * j + h];
        for (std::size_t c = 0; c < 3; ++c) z[c] += std::max(sum, 0.0) * w2[3 * h + c];
      }
      const auto label = static_cast<std::size_t>(y[i]);
      losses.add(std::log(std::exp(z[0]) + std::exp(z[1]) + std::exp(z[2])) - z[label]);
      hits += std::ranges::max_element(z) - z.begin() == static_cast<std::ptrdiff_t>(label);
    }
    CHECK(start.loss == doctest::Approx(losses.mean()).epsilon(1e-5));
    CHECK(start.loss_ci95 == doctest::Approx(mean_ci95(losses.variance(), examples)).epsilon(1e-4));
    CHECK(start.loss_ci95 > 0);
    CHECK(start.accuracy == doctest::Approx(hits / examples));
    CHECK(start.accuracy_ci95 == doctest::Approx(share_ci95(hits / examples, examples)));
  }
}

TEST_CASE(
    "where the config leaves the number of evaluation tasks open, it follows training's cost") {
  const auto tasks = [](const Settings& settings) {
    Settings all = settings;
    all.insert(all.begin(), "meta.eval.tasks=0");
    return Built(small_config(all)).experiment.config.meta.eval.tasks;
  };
  CHECK(tasks({"meta.steps=1"}) == 4);
  CHECK(tasks({"meta.steps=100000"}) == 100);
  const auto some = tasks({"meta.steps=20"});
  CHECK(some > 4);
  CHECK(some < 100);
  CHECK(tasks({"meta.steps=20", "meta.eval.every=2"}) < some);  // eleven evaluations, not two
  CHECK(tasks({"meta.steps=1", "meta.eval.tasks=77"}) == 77);
}

TEST_CASE("a checkpoint holds eta, the optimiser's state and the counters, and only two are kept") {
  const TemporaryDirectory directory;
  const Built built(small_config());
  StageRun run(built.experiment.train, {});
  draw_initial_values(built.experiment, run);
  CheckpointState state{.wall_s = 0.1 + 0.2,
                        .threads = 2,
                        .identity = {.settings = "s", .data = {{"d.csv", 5, "h"}}, .mixflow = "m"},
                        .metrics = {1234, "a"},
                        .evals = {56, "b"},
                        .events = {789, "c"},
                        .first_loss = 1.0 / 3,
                        .recent_losses = {3, 2, 1}};
  for (std::int64_t t = 1; t <= 3; ++t) {
    give_step(built, run, t);
    run.run();
    state.step = t;
    save_checkpoint(directory.path, state, run);
  }
  CHECK(directory.entries() == 2);

  StageRun other(built.experiment.train, {});
  const auto loaded = load_checkpoint(directory.path, other);
  REQUIRE(loaded.has_value());
  CHECK(loaded->step == 3);
  CHECK(loaded->wall_s == state.wall_s);
  CHECK(loaded->threads == 2);
  for (const auto& [was, is] :
       {std::pair(state.metrics, loaded->metrics), std::pair(state.evals, loaded->evals),
        std::pair(state.events, loaded->events)}) {
    CHECK(was.bytes == is.bytes);
    CHECK(was.hash == is.hash);
  }
  CHECK(to_metadata(loaded->identity) == to_metadata(state.identity));
  CHECK(loaded->first_loss == state.first_loss);
  CHECK(loaded->recent_losses == state.recent_losses);
  for (StageRun* each : {&run, &other}) {
    give_step(built, *each, 4);
    each->run();
  }
  for (const Port& port : run.stage().inputs) {
    const auto a = run.input(port.name), b = other.input(port.name);
    CHECK_MESSAGE(std::memcmp(a.data(), b.data(), a.size()) == 0, port.name);
  }
}

TEST_CASE("a checkpoint of another experiment is refused and changes nothing") {
  const TemporaryDirectory directory;
  const Built built(small_config()), wider(small_config({"model.hidden=[7]"}));
  StageRun run(built.experiment.train, {}), other(wider.experiment.train, {});
  CHECK_FALSE(load_checkpoint(directory.path, run).has_value());
  CHECK_FALSE(load_checkpoint(directory.path / "none", run).has_value());
  save_checkpoint(directory.path, {.step = 1}, run);
  draw_initial_values(wider.experiment, other);
  const std::vector<double> before = values_in(other, "eta.init.layers.1.bias");
  const std::string message =
      message_of<UserError>([&] { load_checkpoint(directory.path, other); });
  CHECK(message.find("expected tensor eta.init.layers.0.weight f32[1,7], got F32[1,6]: the "
                     "checkpoint belongs to another experiment") != std::string::npos);
  CHECK(values_in(other, "eta.init.layers.1.bias") == before);
}

TEST_CASE("short inner loops are straight code unless remat.inline is off") {
  for (const bool on : {true, false}) {
    const Built built(
        small_config({std::string("gradient.remat.inline=") + (on ? "true" : "false")}));
    const ProgramPtr program =
        compile_stage(built.experiment.train, plan_options(built.experiment.config, 1));
    // Tasks; inside, the steps and the way back.
    CHECK(count_ops(*program->graph, op::k_scan) == (on ? 1 : 3));
  }
}
