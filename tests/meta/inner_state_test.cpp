// The inner state that is carried from one meta-step to the next: where it leads, and the
// meta-gradient from it, against the plain inner problem.
#include <doctest/doctest.h>

#include "config/names.h"
#include "plain_run.h"

namespace mixflow {
namespace {

struct Problem {
  Config config;
  Shapes shapes;

  Stage train() const {
    const FixedSource source(shapes);
    return StageBuilder(config, source, DType::f64).train();
  }
};

// Every hyper-parameter that the optimiser has is learned; the meta-optimiser is plain, so that its
// step is the meta-gradient.
Problem linear_problem(OptimizerKind optimizer, Granularity granularity) {
  Problem problem{base_config(optimizer, Loss::bce), {}};
  problem.config.inner.reset_every = 0;
  problem.config.inner.steps = 2;
  problem.config.meta.parameters = all_parameters(optimizer, granularity);
  problem.config.meta.parameters.erase(problem.config.meta.parameters.begin());  // init
  problem.config.meta.optimizer = {.kind = OptimizerKind::sgd};
  return problem;
}

Named inputs_of(const Problem& problem) {
  const FixedSource source(problem.shapes);
  const Experiment experiment = build_experiment(problem.config, source, DType::f64);
  return draw_inputs(experiment.train, experiment.initial);
}

// theta_0 for every task, no steps done.
void start_state(const Stage& train, Named& inputs) {
  inputs["steps_done"] = {0};
  for (const Port& port : train.inputs) {
    if (port.role != Role::inner_state) continue;
    Tensor64& values = inputs[port.name];
    std::ranges::fill(values, 0);
    const auto theta0 = inputs.find(port.name.substr(std::string("inner_state.").size()));
    if (theta0 == inputs.end()) continue;
    for (std::size_t e = 0; e < values.size(); ++e) {
      values[e] = theta0->second[e % theta0->second.size()];
    }
  }
}

// What one meta-step leaves to the next.
void carry_on(const Stage& train, const Named& outputs, std::int64_t steps, Named& inputs) {
  inputs["steps_done"][0] += static_cast<double>(steps);
  for (const Port& port : train.outputs) {
    if (port.role == Role::inner_state) inputs[port.name] = outputs.at(port.name);
  }
}

// Steps first .. first + count - 1 of data [N, steps, ..].
Tensor64 cut_steps(const Tensor64& whole, std::size_t steps, std::size_t first, std::size_t count) {
  Tensor64 part;
  const std::size_t tasks = 2, size = whole.size() / (tasks * steps);
  for (std::size_t n = 0; n < tasks; ++n) {
    const auto begin = whole.begin() + static_cast<std::ptrdiff_t>((n * steps + first) * size);
    part.insert(part.end(), begin, begin + static_cast<std::ptrdiff_t>(count * size));
  }
  return part;
}

Tensor64 carried_theta(const Named& inputs) {
  const Tensor64& weight = inputs.at("inner_state.theta.layers.0.weight");
  const Tensor64& bias = inputs.at("inner_state.theta.layers.0.bias");
  Tensor64 theta;
  for (std::size_t n = 0; n < bias.size(); ++n) {
    theta.insert(theta.end(), weight.begin() + static_cast<std::ptrdiff_t>(3 * n),
                 weight.begin() + static_cast<std::ptrdiff_t>(3 * n + 3));
    theta.push_back(bias[n]);
  }
  return theta;
}

// The meta-gradient, from the step that plain gradient descent takes on it.
Tensor64 meta_gradient(const Stage& train, const Named& inputs) {
  const Named outputs = run_stage(train, inputs);
  Tensor64 gradient;
  for (const auto& [name, before] : inputs) {
    if (!name.starts_with("eta.")) continue;
    for (std::size_t e = 0; e < before.size(); ++e) {
      gradient.push_back((before[e] - outputs.at(name)[e]) / inputs.at("meta_lr")[0]);
    }
  }
  return gradient;
}

void check_same_path(const Problem& problem, std::size_t meta_steps) {
  const auto per_step = static_cast<std::size_t>(problem.config.inner.steps);
  Problem long_unroll = problem;
  long_unroll.config.inner.steps =
      problem.config.inner.steps * static_cast<std::int64_t>(meta_steps);
  const Named whole = inputs_of(long_unroll);
  const PlainRun plain = PlainProblem(long_unroll.config, problem.shapes).run(whole);

  const Stage train = problem.train();
  Named inputs = whole;
  inputs["meta_lr"] = {0};
  start_state(train, inputs);
  for (std::size_t k = 0; k < meta_steps; ++k) {
    for (const char* field : {"data.inner.x", "data.inner.y"}) {
      if (problem.shapes.same_batch) continue;
      inputs[field] = cut_steps(whole.at(field), per_step * meta_steps, k * per_step, per_step);
    }
    const Named outputs = run_stage(train, inputs);
    carry_on(train, outputs, problem.config.inner.steps, inputs);
    const std::size_t steps = per_step * meta_steps;
    for (std::size_t t = 0; t < per_step; ++t) {
      const std::size_t at = k * per_step + t;
      CHECK(outputs.at("inner_loss")[t] ==
            doctest::Approx((plain.inner_loss[at] + plain.inner_loss[steps + at]) / 2)
                .epsilon(1e-12));
    }
    if (k + 1 < meta_steps) continue;
    CHECK(outputs.at("outer_loss")[0] == doctest::Approx(mean(plain.outer_loss)).epsilon(1e-12));
  }
  CHECK(relative_difference(carried_theta(inputs), plain.theta_T) < 1e-12);
}

TEST_CASE("meta-steps that carry the inner state follow the path of one long unroll") {
  for (const OptimizerKind optimizer : kOptimizers) {
    for (const Granularity granularity :
         {Granularity::scalar, Granularity::per_tensor, Granularity::per_parameter}) {
      for (const bool same_batch : {true, false}) {
        for (const std::int64_t chunk : {1, 2}) {
          CAPTURE(name_of(optimizer));
          CAPTURE(name_of(granularity));
          CAPTURE(same_batch);
          Problem problem = linear_problem(optimizer, granularity);
          problem.shapes.same_batch = same_batch;
          problem.config.gradient.chunk = chunk;
          check_same_path(problem, 4);
        }
      }
    }
  }
}

TEST_CASE("constant betas, 0 among them, are corrected for the steps before the meta-step") {
  for (const double beta1 : {0.0, 0.9}) {
    for (const bool learned : {true, false}) {
      CAPTURE(beta1);
      CAPTURE(learned);
      Problem problem = linear_problem(OptimizerKind::adam, Granularity::scalar);
      problem.config.inner.optimizer.beta1 = beta1;
      problem.config.inner.optimizer.beta2 = 0.999;
      if (!learned) problem.config.meta.parameters = {{.kind = MetaKind::lr}};
      check_same_path(problem, 3);
    }
  }
}

TEST_CASE("a window within the meta-step does not change the path") {
  Problem problem = linear_problem(OptimizerKind::adamw, Granularity::per_tensor);
  problem.config.inner.steps = 3;
  problem.config.inner.window = 1;
  check_same_path(problem, 3);
}

TEST_CASE("the meta-gradient from a carried state holds that state constant, in both exact modes") {
  for (const OptimizerKind optimizer : kOptimizers) {
    for (const Granularity granularity : kGranularities) {
      for (const double done : {0.0, 6.0}) {
        CAPTURE(name_of(optimizer));
        CAPTURE(name_of(granularity));
        CAPTURE(done);
        Problem problem = linear_problem(optimizer, granularity);
        problem.shapes.same_batch = granularity == Granularity::per_step;
        const Stage train = problem.train();
        Named inputs = inputs_of(problem);
        if (done == 0) start_state(train, inputs);
        inputs["steps_done"] = {done};
        for (auto& [name, values] : inputs) {
          // A mean of squares.
          if (!name.starts_with("inner_state.v.")) continue;
          for (double& v : values) v = std::abs(v);
        }
        const Tensor64 expected = finite_difference(
            [&](const Named& at) { return run_stage(train, at).at("outer_loss")[0]; }, inputs);
        const Tensor64 mixed = meta_gradient(train, inputs);
        problem.config.gradient.mode = Mode::reverse;
        CHECK(relative_difference(mixed, expected) < 1e-6);
        CHECK(relative_difference(mixed, meta_gradient(problem.train(), inputs)) < 1e-10);
      }
    }
  }
}

TEST_CASE("the first meta-step after a reset is that of an experiment without a carried state") {
  for (const OptimizerKind optimizer : kOptimizers) {
    CAPTURE(name_of(optimizer));
    Problem problem = linear_problem(optimizer, Granularity::per_parameter);
    const Stage train = problem.train();
    Named inputs = inputs_of(problem);
    start_state(train, inputs);
    const Named carried = run_stage(train, inputs);
    problem.config.inner.reset_every = 1;
    const Stage plain = problem.train();
    for (const Port& port : plain.outputs) CHECK(port.role != Role::inner_state);
    const Named fresh = run_stage(plain, inputs);
    for (const auto& [name, values] : fresh) {
      CHECK(relative_difference(carried.at(name), values) < 1e-12);
    }
  }
}

TEST_CASE("the state's loss is the outer loss of each task's theta") {
  for (const std::int64_t chunk : {1, 2}) {
    Problem problem = linear_problem(OptimizerKind::momentum, Granularity::scalar);
    problem.config.gradient.chunk = chunk;
    const FixedSource source(problem.shapes);
    const Experiment experiment = build_experiment(problem.config, source, DType::f64);
    const Named inputs = draw_inputs(experiment.state_eval, experiment.initial);
    const Tensor64 losses = run_stage(experiment.state_eval, inputs).at("state_loss");
    REQUIRE(losses.size() == 2);
    const Tensor64 theta = carried_theta(inputs);
    const Tensor64 &x = inputs.at("data.outer.x"), &y = inputs.at("data.outer.y");
    for (std::size_t n = 0; n < 2; ++n) {
      double loss = 0;
      for (std::size_t i = 5 * n; i < 5 * n + 5; ++i) {
        double z = theta[4 * n + 3];
        for (std::size_t k = 0; k < 3; ++k) z += x[3 * i + k] * theta[4 * n + k];
        loss += (std::log1p(std::exp(z)) - z * y[i]) / 5;
      }
      CHECK(losses[n] == doctest::Approx(loss).epsilon(1e-12));
    }
    problem.config.inner.reset_every = 1;
    CHECK(build_experiment(problem.config, source, DType::f64).state_eval.graph == nullptr);
  }
}

}  // namespace
}  // namespace mixflow
