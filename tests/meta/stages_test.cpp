// The stages around the meta-gradient: meta-update, evaluation, names, starts, sizes, and the
// errors of build_experiment.
#include <doctest/doctest.h>

#include "config/check.h"
#include "config/names.h"
#include "graph/verify.h"
#include "ops/op_list.h"
#include "plain_run.h"

namespace mixflow {
namespace {

struct StageCase {
  Config config;
  Shapes shapes;

  Experiment build() const { return build_experiment(config, FixedSource(shapes), DType::f64); }
};

StageCase linear_problem(OptimizerKind inner = OptimizerKind::sgd) {
  StageCase problem{base_config(inner, Loss::bce), {}};
  problem.config.meta.parameters = all_parameters(inner, Granularity::per_tensor);
  return problem;
}

// --- the meta-update -----------------------------------------------------------------------------

TEST_CASE("every meta-optimiser takes its formula's step on the meta-gradient") {
  for (const OptimizerKind kind : kOptimizers) {
    CAPTURE(name_of(kind));
    StageCase problem = linear_problem();
    problem.config.meta.optimizer = {
        .kind = kind, .momentum = 0.6, .beta1 = 0.5, .beta2 = 0.8, .weight_decay = 0.3};
    const Experiment experiment = problem.build();
    const Named inputs = draw_inputs(experiment.train, experiment.initial);
    const Named outputs = run_stage(experiment.train, inputs);
    const Named grads = run_stage(experiment.grad, inputs);
    for (const Port& port : experiment.eta) {
      const std::string tensor = port.name.substr(4);
      const Tensor64& g = grads.at(meta_grad_name(port.name));
      for (std::size_t e = 0; e < g.size(); ++e) {
        PlainState state;
        for (const std::string_view name : opt_state_names(kind)) {
          (name == "m" ? state.m : state.v) =
              inputs.at("meta_state." + std::string(name) + "." + tensor)[e];
        }
        const double eta = plain_update(problem.config.meta.optimizer, {0.1, 0.6, 0.5, 0.8, 0.3},
                                        g[e], inputs.at(port.name)[e], state, 3);
        CHECK(outputs.at(port.name)[e] == doctest::Approx(eta).epsilon(1e-12));
        for (const std::string_view name : opt_state_names(kind)) {
          CHECK(outputs.at("meta_state." + std::string(name) + "." + tensor)[e] ==
                doctest::Approx(name == "m" ? state.m : state.v).epsilon(1e-12));
        }
      }
    }
  }
}

TEST_CASE("the train stage reports means over tasks and the norm before clipping") {
  StageCase problem = linear_problem();
  problem.config.meta.clip_norm = 1e-3;
  const Experiment experiment = problem.build();
  const Named inputs = draw_inputs(experiment.train, experiment.initial);
  const Named outputs = run_stage(experiment.train, inputs);
  const Named grads = run_stage(experiment.grad, inputs);
  double square = 0;
  for (const double g : flat_meta_grad(grads)) square += g * g;
  CHECK(outputs.at("meta_grad_norm")[0] == doctest::Approx(std::sqrt(square)).epsilon(1e-13));
  CHECK(outputs.at("outer_loss")[0] ==
        doctest::Approx(mean(grads.at("outer_loss"))).epsilon(1e-13));
  const Tensor64& inner = grads.at("inner_loss");
  for (std::size_t t = 0; t < 3; ++t) {
    CHECK(outputs.at("inner_loss")[t] ==
          doctest::Approx((inner[t] + inner[3 + t]) / 2).epsilon(1e-13));
  }
}

TEST_CASE("clipping scales long meta-gradients to the given norm and leaves short ones alone") {
  StageCase problem = linear_problem();
  problem.config.meta.optimizer = {.kind = OptimizerKind::sgd};
  const Experiment plain = problem.build();
  const Named inputs = draw_inputs(plain.train, plain.initial);
  const auto moved = [&](const Experiment& experiment) {
    const Named outputs = run_stage(experiment.train, inputs);
    double square = 0;
    for (const Port& port : experiment.eta) {
      for (std::size_t e = 0; e < inputs.at(port.name).size(); ++e) {
        const double step = (inputs.at(port.name)[e] - outputs.at(port.name)[e]) / 0.1;
        square += step * step;
      }
    }
    return std::sqrt(square);
  };
  const double norm = moved(plain);
  problem.config.meta.clip_norm = norm / 4;
  CHECK(moved(problem.build()) == doctest::Approx(norm / 4).epsilon(1e-10));
  problem.config.meta.clip_norm = norm * 4;
  CHECK(moved(problem.build()) == doctest::Approx(norm).epsilon(1e-10));
}

TEST_CASE("eta is projected into its bounds after the step, either of which may be infinite") {
  StageCase problem = linear_problem();
  const Named inputs = [&] {
    const Experiment experiment = problem.build();
    return draw_inputs(experiment.train, experiment.initial);
  }();
  for (const bool upper : {true, false}) {
    MetaParameter& lr = problem.config.meta.parameters[1];
    REQUIRE(lr.kind == MetaKind::lr);
    // No draw of lr = 0.2 comes near either bound.
    lr.bounds = upper ? Range{-INFINITY, -5} : Range{5, INFINITY};
    const Named outputs = run_stage(problem.build().train, inputs);
    CHECK(outputs.at("eta.lr.layers.0.weight")[0] == (upper ? -5 : 5));
    CHECK(outputs.at("eta.lr.layers.0.bias")[0] == (upper ? -5 : 5));
    CHECK(std::abs(outputs.at("eta.l2.layers.0.bias")[0]) < 1);
  }
}

// --- evaluation ----------------------------------------------------------------------------------

TEST_CASE("evaluation reports the outer loss after each number of steps, sorted and once") {
  for (const Granularity granularity : {Granularity::per_parameter, Granularity::per_step}) {
    for (const bool same_batch : {true, false}) {
      StageCase problem = linear_problem(OptimizerKind::adam);
      problem.shapes.same_batch = same_batch;
      problem.config.meta.parameters = all_parameters(OptimizerKind::adam, granularity);
      problem.config.meta.eval.steps = {5, 0, 2, 5};  // beyond T = 3 the last step's values hold
      problem.config.meta.eval.tasks = 2;
      const Experiment experiment = problem.build();
      CHECK(experiment.config.meta.eval.steps == std::vector<std::int64_t>{0, 2, 5});
      REQUIRE(experiment.eval_batch == 2);
      const Named inputs = draw_inputs(experiment.eval, experiment.initial);
      const Named outputs = run_stage(experiment.eval, inputs);
      const PlainProblem plain(problem.config, problem.shapes);
      const Tensor64 after_five = plain.run(inputs, inputs, 0, 5).outer_loss;
      const Tensor64& losses = outputs.at("eval_loss");
      REQUIRE(losses.size() == 6);
      for (std::size_t n = 0; n < 2; ++n) {
        CHECK(losses[3 * n + 2] == doctest::Approx(after_five[n]).epsilon(1e-12));
        if (!same_batch) continue;  // the plain run finds a task's batches by the number of steps
        const auto at = [&](int steps) {
          return plain.run(inputs, inputs, 0, steps).outer_loss[n];
        };
        CHECK(losses[3 * n] == doctest::Approx(at(0)).epsilon(1e-12));
        CHECK(losses[3 * n + 1] == doctest::Approx(at(2)).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("evaluation of classification reports accuracy, of regression only the loss") {
  StageCase problem = linear_problem();
  problem.shapes.labels = true;
  problem.config.meta.eval = {.tasks = 6, .steps = {0}};
  const Experiment experiment = problem.build();
  const Named inputs = draw_inputs(experiment.eval, experiment.initial);
  const Tensor64 accuracy = run_stage(experiment.eval, inputs).at("eval_accuracy");
  REQUIRE(accuracy.size() == 6);
  const Tensor64& w = inputs.at("eta.init.layers.0.weight");
  const double bias = inputs.at("eta.init.layers.0.bias")[0];
  const Tensor64& x = inputs.at("data.outer.x");
  for (std::size_t n = 0; n < 6; ++n) {
    double right = 0;
    for (std::size_t i = 5 * n; i < 5 * n + 5; ++i) {
      const double z = bias + x[3 * i] * w[0] + x[3 * i + 1] * w[1] + x[3 * i + 2] * w[2];
      right += (z >= 0) == (inputs.at("data.outer.y")[i] == 1);
    }
    CHECK(accuracy[n] == doctest::Approx(right / 5));
  }
  problem.config.inner.loss = Loss::mse;
  problem.shapes.labels = false;
  CHECK(problem.build().eval.output("eval_accuracy") == -1);
}

TEST_CASE(
    "the objective is the outer loss of the grad stage, and its window holds the frozen eta") {
  StageCase problem = linear_problem(OptimizerKind::nesterov);
  problem.config.inner.window = 1;
  const Experiment experiment = problem.build();
  const Named inputs = draw_inputs(experiment.grad, experiment.initial);
  Named both = inputs;
  Named moved = inputs;
  for (const Port& port : experiment.eta) {
    both["frozen." + port.name] = inputs.at(port.name);
    for (double& x : moved[port.name]) x *= 1.1;
  }
  const Tensor64 expected = run_stage(experiment.grad, inputs).at("outer_loss");
  CHECK(relative_difference(run_stage(experiment.objective, both).at("outer_loss"), expected) <
        1e-13);
  // Hyper-parameters that move in the window alone; theta_0 is an eta of the steps before it.
  for (const Port& port : experiment.eta) both[port.name] = moved.at(port.name);
  for (const auto& [name, values] : inputs) {
    if (name.starts_with("eta.init.")) both[name] = values;
  }
  const PlainRun plain = PlainProblem(problem.config, problem.shapes).run(moved, inputs, 2, 3);
  CHECK(relative_difference(run_stage(experiment.objective, both).at("outer_loss"),
                            plain.outer_loss) < 1e-13);
}

// --- names, starts, sizes ------------------------------------------------------------------------

TEST_CASE(
    "every port is named once, as graph inputs and outputs are, and every start has its port") {
  for (const bool init : {true, false}) {
    StageCase problem = linear_problem(OptimizerKind::adamw);
    if (!init) problem.config.meta.parameters.erase(problem.config.meta.parameters.begin());
    const Experiment experiment = problem.build();
    for (const Stage* stage :
         {&experiment.train, &experiment.grad, &experiment.objective, &experiment.eval}) {
      REQUIRE(stage->inputs.size() == stage->graph->inputs.size());
      REQUIRE(stage->outputs.size() == stage->graph->outputs.size());
      verify(*stage->graph);
      CHECK(count_ops(*stage->graph, op::k_grad) == 0);
      for (std::size_t i = 0; i < stage->inputs.size(); ++i) {
        CHECK(stage->input(stage->inputs[i].name) == static_cast<int>(i));
        CHECK(stage->graph->type(stage->graph->inputs[i]) == stage->inputs[i].type);
      }
      for (std::size_t i = 0; i < stage->outputs.size(); ++i) {
        CHECK(stage->output(stage->outputs[i].name) == static_cast<int>(i));
        CHECK(stage->graph->type(stage->graph->outputs[i]) == stage->outputs[i].type);
      }
      for (const InitialValue& initial : experiment.initial) {
        CHECK(stage->input(initial.name) >= 0);
      }
    }
    CHECK((experiment.grad.input("theta.layers.0.bias") >= 0) == !init);
    CHECK((experiment.grad.input("eta.init.layers.0.bias") >= 0) == init);
    CHECK(experiment.grad.output("theta_T.layers.0.weight") >= 0);
    CHECK(experiment.grad.output("meta_grad.lr.layers.0.weight") >= 0);
    CHECK(experiment.grad.output("nothing") == -1);
  }
}

TEST_CASE("hyper-parameters start at their value in inner or at their own, through the transform") {
  StageCase problem = linear_problem();
  problem.config.meta.parameters = {
      {.kind = MetaKind::lr, .granularity = Granularity::per_step, .transform = Transform::exp},
      {.kind = MetaKind::l2, .transform = Transform::softplus, .init = 2.0}};
  const Experiment experiment = problem.build();
  CHECK(experiment.eta[0].name == "eta.lr");
  CHECK(experiment.eta[0].type.shape == Shape{3});
  CHECK(experiment.initial[0].value == doctest::Approx(std::log(0.2)));
  CHECK(experiment.initial[1].value == doctest::Approx(std::log(std::exp(2.0) - 1)));
  for (const Transform transform :
       {Transform::identity, Transform::exp, Transform::softplus, Transform::sigmoid}) {
    Builder b;
    const Id x = b.input({DType::f64, {}});
    const Id y = apply_transform(b, transform, x);
    const GraphPtr graph = b.finish({y});
    for (const double value : {1e-6, 0.3, 0.999}) {
      const double raw = inverse_transform(transform, value).value();
      CHECK(evaluate(*graph, {{raw}})[0][0] == doctest::Approx(value).epsilon(1e-10));
    }
  }
  CHECK_FALSE(inverse_transform(Transform::exp, 0).has_value());
  CHECK_FALSE(inverse_transform(Transform::softplus, -1).has_value());
  CHECK_FALSE(inverse_transform(Transform::sigmoid, 1).has_value());
}

TEST_CASE("an experiment knows its size and work, and evaluates a divisor of the tasks at once") {
  StageCase problem = linear_problem();
  problem.config.meta.eval.tasks = 130;
  const Experiment experiment = problem.build();
  CHECK(experiment.theta_size == 4);
  CHECK(experiment.eval_batch == 26);  // the largest divisor of 130 that is at most 64
  // A pass of the linear model has 2 x 3 FLOPs per example; 2 tasks, 3 steps over 4 examples, V
  // over 5. A gradient takes two passes (no input gradient). Its derivative takes two more, and a
  // third for the logits, which the second derivative of bce depends on, that of mse does not.
  for (const Loss loss : {Loss::mse, Loss::bce}) {
    StageCase sized{base_config(OptimizerKind::sgd, loss), {}};
    sized.config.meta.parameters = all_parameters(OptimizerKind::sgd, Granularity::per_tensor);
    const std::int64_t second = loss == Loss::mse ? 2 : 3;
    CHECK(sized.build().model_flop == 2 * (3 * (2 + second) * 4 + 2 * 5) * 6);
    // The first step that a window holds starts from a constant.
    sized.config.inner.window = 2;
    CHECK(sized.build().model_flop == 2 * ((3 * 2 + second) * 4 + 2 * 5) * 6);
    sized.config.inner.window = 1;
    CHECK(sized.build().model_flop == 2 * (3 * 2 * 4 + 2 * 5) * 6);
    sized.config.gradient.mode = Mode::first_order;
    std::erase_if(sized.config.meta.parameters,  // which acts through the inner gradient alone
                  [](const MetaParameter& learned) { return learned.kind == MetaKind::l2; });
    CHECK(sized.build().model_flop == 2 * (3 * 2 * 4 + 2 * 5) * 6);
  }
  // So does the whole unroll where only rates are learned.
  StageCase rates{base_config(OptimizerKind::sgd, Loss::bce), {}};
  rates.config.meta.parameters = {{.kind = MetaKind::lr}};
  CHECK(rates.build().model_flop == 2 * ((3 * 2 + 2 * 3) * 4 + 2 * 5) * 6);
  rates.config.inner.window = 1;
  CHECK(rates.build().model_flop == 2 * (3 * 2 * 4 + 2 * 5) * 6);
}

// --- errors --------------------------------------------------------------------------------------

TEST_CASE("what the loader refuses does not come here") {
  StageCase problem = linear_problem();
  problem.config.inner.l2.reset();
  const std::vector<std::vector<MetaParameter>> refused = {
      {},
      {{.kind = MetaKind::momentum}},
      {{.kind = MetaKind::l2}},
      {{.kind = MetaKind::lr}, {.kind = MetaKind::lr}},
      {{.kind = MetaKind::lr, .transform = Transform::exp, .init = 0.0}},
      {{.kind = MetaKind::init, .transform = Transform::exp}}};
  for (const std::vector<MetaParameter>& parameters : refused) {
    problem.config.meta.parameters = parameters;
    CHECK_THROWS_AS(problem.build(), InternalError);
  }
  problem = linear_problem();
  problem.config.meta.batch = 6;
  problem.config.gradient.chunk = 4;
  CHECK_THROWS_AS(problem.build(), InternalError);
}

}  // namespace
}  // namespace mixflow
