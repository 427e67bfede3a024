// The meta-gradient: against finite differences of the plain inner problem, between its exact
// modes, and under every switch that may not change it.
#include <doctest/doctest.h>

#include "config/names.h"
#include "plain_run.h"

namespace mixflow {
namespace {

struct PlainCase {
  Config config;
  Shapes shapes;
};

Named meta_gradient(const PlainCase& problem, const Named& inputs) {
  const FixedSource source(problem.shapes);
  return run_stage(StageBuilder(problem.config, source, DType::f64).grad(), inputs);
}

Named case_inputs(const PlainCase& problem, int classes = 2) {
  const FixedSource source(problem.shapes);
  const StageBuilder stages(problem.config, source, DType::f64);
  std::vector<InitialValue> initial;
  for (const EtaTensor& tensor : stages.eta()) initial.push_back(tensor.initial);
  return draw_inputs(stages.grad(), initial, classes);
}

PlainCase linear_case(OptimizerKind optimizer, Granularity granularity) {
  PlainCase problem{base_config(optimizer, Loss::bce), {}};
  problem.config.meta.parameters = all_parameters(optimizer, granularity);
  return problem;
}

TEST_CASE("losses and final weights of the unroll are those of the plain run") {
  for (const OptimizerKind optimizer : kOptimizers) {
    for (const Granularity granularity : kGranularities) {
      for (const bool same_batch : {true, false}) {
        CAPTURE(name_of(optimizer));
        CAPTURE(name_of(granularity));
        PlainCase problem = linear_case(optimizer, granularity);
        problem.shapes.same_batch = same_batch;
        const Named inputs = case_inputs(problem);
        const Named outputs = meta_gradient(problem, inputs);
        const PlainRun plain = PlainProblem(problem.config, problem.shapes).run(inputs);
        CHECK(relative_difference(outputs.at("outer_loss"), plain.outer_loss) < 1e-13);
        CHECK(relative_difference(outputs.at("inner_loss"), plain.inner_loss) < 1e-13);
        Tensor64 bias;
        const auto size = static_cast<std::size_t>(problem.shapes.features) + 1;
        for (std::size_t i = size - 1; i < plain.theta_T.size(); i += size) {
          bias.push_back(plain.theta_T[i]);
        }
        CHECK(relative_difference(outputs.at("theta_T.layers.0.bias"), bias) < 1e-12);
      }
    }
  }
}

TEST_CASE(
    "both exact modes give the derivative of the plain run, for every optimiser, kind and "
    "granularity") {
  for (const OptimizerKind optimizer : kOptimizers) {
    for (const Granularity granularity : kGranularities) {
      CAPTURE(name_of(optimizer));
      CAPTURE(name_of(granularity));
      PlainCase problem = linear_case(optimizer, granularity);
      const Named inputs = case_inputs(problem);
      const PlainProblem plain(problem.config, problem.shapes);
      const Tensor64 expected = finite_difference(
          [&](const Named& at) { return mean(plain.run(at).outer_loss); }, inputs);
      const Tensor64 mixed = flat_meta_grad(meta_gradient(problem, inputs));
      problem.config.gradient.mode = Mode::reverse;
      const Tensor64 reverse = flat_meta_grad(meta_gradient(problem, inputs));
      CHECK(relative_difference(mixed, expected) < 1e-6);
      CHECK(relative_difference(mixed, reverse) < 1e-10);
    }
  }
}

TEST_CASE("betas that start at zero have their meta-gradient, at every granularity") {
  for (const Granularity granularity : kGranularities) {
    CAPTURE(name_of(granularity));
    const PlainCase problem = linear_case(OptimizerKind::adam, granularity);
    Named inputs = case_inputs(problem);
    for (auto& [name, values] : inputs) {
      if (name.starts_with("eta.beta")) std::ranges::fill(values, 0);
    }
    const PlainProblem plain(problem.config, problem.shapes);
    const Tensor64 expected =
        finite_difference([&](const Named& at) { return mean(plain.run(at).outer_loss); }, inputs);
    const Tensor64 actual = flat_meta_grad(meta_gradient(problem, inputs));
    CHECK(relative_difference(actual, expected) < 1e-6);
  }
}

TEST_CASE("a window differentiates its last steps only, from where the first ones led") {
  for (const OptimizerKind optimizer : kOptimizers) {
    for (const Granularity granularity : {Granularity::per_parameter, Granularity::per_step}) {
      CAPTURE(name_of(optimizer));
      CAPTURE(name_of(granularity));
      PlainCase problem = linear_case(optimizer, granularity);
      problem.shapes.same_batch = granularity == Granularity::per_step;
      problem.config.inner.steps = 4;
      problem.config.inner.window = 2;
      const Named inputs = case_inputs(problem);
      const PlainProblem plain(problem.config, problem.shapes);
      const Tensor64 expected = finite_difference(
          [&](const Named& at) { return mean(plain.run(at, inputs, 2, 4).outer_loss); }, inputs);
      const Named mixed = meta_gradient(problem, inputs);
      problem.config.gradient.mode = Mode::reverse;
      const Named reverse = meta_gradient(problem, inputs);
      CHECK(relative_difference(flat_meta_grad(mixed), expected) < 1e-6);
      CHECK(relative_difference(flat_meta_grad(mixed), flat_meta_grad(reverse)) < 1e-10);
      CHECK(relative_difference(mixed.at("outer_loss"), plain.run(inputs).outer_loss) < 1e-13);
      CHECK(relative_difference(mixed.at("inner_loss"), plain.run(inputs).inner_loss) < 1e-13);
      for (const double x : mixed.at("meta_grad.init.layers.0.weight")) CHECK(x == 0);
    }
  }
}

PlainCase stopped_problem(OptimizerKind optimizer, Granularity granularity) {
  PlainCase problem = linear_case(optimizer, granularity);
  problem.config.inner.optimizer.stop_denominator = true;
  std::erase_if(problem.config.meta.parameters,
                [](const MetaParameter& p) { return p.kind == MetaKind::beta2; });
  return problem;
}

// Central differences of the outer loss after `steps` steps, the first `frozen` of them and all
// denominators being those of the run at `inputs`.
Tensor64 stopped_differences(const PlainCase& problem, const Named& inputs, int frozen, int steps) {
  const PlainProblem plain(problem.config, problem.shapes);
  const Tensor64 denominators = plain.run(inputs).denominators;
  return finite_difference(
      [&](const Named& at) {
        return mean(plain.run(at, inputs, frozen, steps, &denominators).outer_loss);
      },
      inputs);
}

TEST_CASE("with a stopped denominator the meta-gradient is that of a run whose denominators stay") {
  for (const OptimizerKind optimizer : kAdaptive) {
    for (const Granularity granularity : kGranularities) {
      CAPTURE(name_of(optimizer));
      CAPTURE(name_of(granularity));
      PlainCase problem = stopped_problem(optimizer, granularity);
      problem.shapes.same_batch = granularity != Granularity::per_tensor;
      const Named inputs = case_inputs(problem);
      const Tensor64 expected = stopped_differences(problem, inputs, 0, 3);
      const Named mixed = meta_gradient(problem, inputs);
      problem.config.gradient.mode = Mode::reverse;
      const Named reverse = meta_gradient(problem, inputs);
      CHECK(relative_difference(flat_meta_grad(mixed), expected) < 1e-6);
      CHECK(relative_difference(flat_meta_grad(mixed), flat_meta_grad(reverse)) < 1e-10);
      // The run itself is the same, and its true derivative another.
      problem.config.inner.optimizer.stop_denominator = false;
      const Named moving = meta_gradient(problem, inputs);
      CHECK(moving.at("outer_loss") == mixed.at("outer_loss"));
      CHECK(moving.at("theta_T.layers.0.bias") == mixed.at("theta_T.layers.0.bias"));
      CHECK(relative_difference(flat_meta_grad(mixed), flat_meta_grad(moving)) > 1e-2);
    }
  }
}

TEST_CASE("a stopped denominator goes with a window, and changes nothing at first order") {
  for (const OptimizerKind optimizer : kAdaptive) {
    CAPTURE(name_of(optimizer));
    PlainCase problem = stopped_problem(optimizer, Granularity::per_step);
    problem.config.inner.steps = 4;
    problem.config.inner.window = 2;
    const Named inputs = case_inputs(problem);
    const Tensor64 expected = stopped_differences(problem, inputs, 2, 4);
    CHECK(relative_difference(flat_meta_grad(meta_gradient(problem, inputs)), expected) < 1e-6);
    problem.config.inner.window = 0;
    problem.config.gradient.mode = Mode::first_order;
    std::erase_if(problem.config.meta.parameters,
                  [](const MetaParameter& p) { return p.kind == MetaKind::l2; });
    const Tensor64 stopped = flat_meta_grad(meta_gradient(problem, inputs));
    problem.config.inner.optimizer.stop_denominator = false;
    CHECK(relative_difference(flat_meta_grad(meta_gradient(problem, inputs)), stopped) < 1e-13);
  }
}

TEST_CASE("a window as long as the unroll, or longer, changes nothing") {
  PlainCase problem = linear_case(OptimizerKind::adam, Granularity::per_tensor);
  const Named inputs = case_inputs(problem);
  const Tensor64 whole = flat_meta_grad(meta_gradient(problem, inputs));
  for (const std::int64_t window : {3, 7}) {
    problem.config.inner.window = window;
    CHECK(flat_meta_grad(meta_gradient(problem, inputs)) == whole);
  }
}

TEST_CASE("hyper-parameters pass through their transforms") {
  PlainCase problem = linear_case(OptimizerKind::adamw, Granularity::scalar);
  for (MetaParameter& parameter : problem.config.meta.parameters) {
    if (parameter.kind == MetaKind::lr) parameter.transform = Transform::exp;
    if (parameter.kind == MetaKind::beta1) parameter.transform = Transform::sigmoid;
    if (parameter.kind == MetaKind::l2) parameter.transform = Transform::softplus;
  }
  const Named inputs = case_inputs(problem);
  const PlainProblem plain(problem.config, problem.shapes);
  const Tensor64 expected =
      finite_difference([&](const Named& at) { return mean(plain.run(at).outer_loss); }, inputs);
  CHECK(relative_difference(flat_meta_grad(meta_gradient(problem, inputs)), expected) < 1e-6);
}

// A network with a hidden layer: the Hessian is full, and so is its dependence on theta.
PlainCase deep_problem(OptimizerKind optimizer, Loss loss) {
  PlainCase problem{base_config(optimizer, loss), {}};
  std::get<MlpModel>(problem.config.model).hidden = {3};
  problem.shapes.features = 2;
  problem.config.meta.parameters = all_parameters(optimizer, Granularity::per_parameter);
  problem.shapes.labels = loss == Loss::cross_entropy;
  problem.shapes.outputs = loss == Loss::bce ? 1 : 3;
  return problem;
}

TEST_CASE(
    "on a network both modes agree with finite differences of the objective, for every loss") {
  for (const Loss loss : {Loss::mse, Loss::cross_entropy, Loss::bce}) {
    for (const OptimizerKind optimizer : {OptimizerKind::nesterov, OptimizerKind::adamw}) {
      CAPTURE(name_of(loss));
      CAPTURE(name_of(optimizer));
      PlainCase problem = deep_problem(optimizer, loss);
      const Named inputs = case_inputs(problem, 3);
      const FixedSource source(problem.shapes);
      const Stage objective = StageBuilder(problem.config, source, DType::f64).objective();
      const Tensor64 expected = finite_difference(
          [&](const Named& at) { return mean(run_stage(objective, at).at("outer_loss")); }, inputs);
      const Tensor64 mixed = flat_meta_grad(meta_gradient(problem, inputs));
      problem.config.gradient.mode = Mode::reverse;
      CHECK(relative_difference(mixed, expected) < 1e-6);
      CHECK(relative_difference(mixed, flat_meta_grad(meta_gradient(problem, inputs))) < 1e-10);
    }
  }
}

TEST_CASE("what is kept and what is recomputed does not change the meta-gradient") {
  for (const OptimizerKind optimizer : kOptimizers) {
    for (const Mode mode : {Mode::mixed, Mode::reverse}) {
      for (const std::int64_t window : {0, 2}) {
        if (window > 0 && optimizer != OptimizerKind::adam) continue;
        CAPTURE(name_of(optimizer));
        CAPTURE(name_of(mode));
        PlainCase problem = deep_problem(optimizer, Loss::cross_entropy);
        problem.config.gradient.mode = mode;
        problem.config.inner.window = window;
        const Named inputs = case_inputs(problem, 3);
        const Tensor64 saved = flat_meta_grad(meta_gradient(problem, inputs));
        problem.config.gradient.remat.save_inner_grads = false;
        const Tensor64 recomputed = flat_meta_grad(meta_gradient(problem, inputs));
        problem.config.gradient.remat.step = false;
        const Tensor64 kept = flat_meta_grad(meta_gradient(problem, inputs));
        CHECK(relative_difference(recomputed, saved) < 1e-13);
        CHECK(relative_difference(kept, saved) < 1e-13);
      }
    }
  }
}

TEST_CASE("first order treats every inner gradient as a constant") {
  PlainCase problem{base_config(OptimizerKind::sgd, Loss::bce), {}};
  problem.config.gradient.mode = Mode::first_order;
  problem.config.meta.parameters = {{.kind = MetaKind::init}, {.kind = MetaKind::lr}};
  for (const OptimizerKind optimizer : kOptimizers) {
    CAPTURE(name_of(optimizer));
    problem.config.inner.optimizer.kind = optimizer;
    problem.config.inner.optimizer.weight_decay = 0;  // theta then reaches theta' with derivative 1
    const Named inputs = case_inputs(problem);
    const Named outputs = meta_gradient(problem, inputs);
    const PlainRun plain = PlainProblem(problem.config, problem.shapes).run(inputs);
    // d/d theta_0 = dV / d theta_T (Finn et al. 2017, section 5.2), the mean over tasks.
    Tensor64 expected(4, 0);
    for (std::size_t i = 0; i < plain.outer_grad.size(); ++i) {
      expected[i % 4] += plain.outer_grad[i] / static_cast<double>(problem.config.meta.batch);
    }
    const Tensor64 bias{expected.back()};
    expected.pop_back();
    CHECK(relative_difference(outputs.at("meta_grad.init.layers.0.weight"), expected) < 1e-12);
    CHECK(relative_difference(outputs.at("meta_grad.init.layers.0.bias"), bias) < 1e-12);
    // d theta_T / d lr = - sum of the gradients, for sgd.
    if (optimizer == OptimizerKind::sgd) {
      CHECK(outputs.at("meta_grad.lr")[0] ==
            doctest::Approx(-mean(plain.lr_direction)).epsilon(1e-12));
    }
  }
}

TEST_CASE("chunks of tasks, one task, and tasks in turn give the same meta-gradient") {
  PlainCase problem = deep_problem(OptimizerKind::adam, Loss::cross_entropy);
  problem.config.meta.batch = 6;
  const Named inputs = case_inputs(problem, 3);
  const Named one_by_one = meta_gradient(problem, inputs);
  for (const std::int64_t chunk : {2, 3, 6}) {
    CAPTURE(chunk);
    problem.config.gradient.chunk = chunk;
    const Named chunked = meta_gradient(problem, inputs);
    for (const auto& [name, values] : one_by_one) {
      CAPTURE(name);
      CHECK(relative_difference(chunked.at(name), values) < 1e-12);
    }
  }
  // The mean over tasks of the meta-gradients of batches of one.
  problem.config.gradient.chunk = 0;
  problem.config.meta.batch = 1;
  Tensor64 total(flat_meta_grad(one_by_one).size(), 0);
  for (std::size_t n = 0; n < 6; ++n) {
    Named single = inputs;
    for (auto& [name, values] : single) {
      if (!name.starts_with("data.")) continue;
      const auto share = static_cast<std::ptrdiff_t>(values.size() / 6);
      const auto first = values.begin() + static_cast<std::ptrdiff_t>(n) * share;
      values = Tensor64(first, first + share);
    }
    const Tensor64 grad = flat_meta_grad(meta_gradient(problem, single));
    for (std::size_t i = 0; i < grad.size(); ++i) total[i] += grad[i] / 6;
  }
  CHECK(relative_difference(total, flat_meta_grad(one_by_one)) < 1e-12);
}

TEST_CASE("the graph of a meta-step has the same size for every unroll length") {
  for (const Mode mode : {Mode::mixed, Mode::reverse}) {
    std::int64_t nodes = 0;
    for (const std::int64_t steps : {1, 2, 10, 1000}) {
      PlainCase problem = deep_problem(OptimizerKind::adam, Loss::cross_entropy);
      problem.config.gradient.mode = mode;
      problem.config.inner.steps = steps;
      const FixedSource source(problem.shapes);
      const std::int64_t count =
          count_nodes(*StageBuilder(problem.config, source, DType::f64).train().graph);
      if (nodes == 0) nodes = count;
      CHECK(count == nodes);
    }
  }
}

TEST_CASE("data that repeat one batch for every step give what the one batch gives") {
  PlainCase problem = deep_problem(OptimizerKind::momentum, Loss::mse);
  const Named once = case_inputs(problem);
  problem.shapes.same_batch = false;
  Named repeated = once;
  for (auto& [name, values] : repeated) {
    if (!name.starts_with("data.inner.")) continue;
    Tensor64 all;
    const auto share = static_cast<std::ptrdiff_t>(values.size()) / 2;
    for (std::ptrdiff_t n = 0; n < 2; ++n) {
      for (int t = 0; t < 3; ++t) {
        all.insert(all.end(), values.begin() + n * share, values.begin() + (n + 1) * share);
      }
    }
    values = all;
  }
  const Named a = meta_gradient(problem, repeated);
  problem.shapes.same_batch = true;
  const Named b = meta_gradient(problem, once);
  CHECK(relative_difference(flat_meta_grad(a), flat_meta_grad(b)) < 1e-13);
}

}  // namespace
}  // namespace mixflow
