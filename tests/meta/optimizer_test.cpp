#include "meta/optimizer.h"

#include <doctest/doctest.h>

#include "config/names.h"
#include "plain_run.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

constexpr std::int64_t kWeights = 5;
constexpr int kSteps = 4;

// The update of one tensor as a graph: (g, theta, state.., lr, momentum, beta1, beta2,
// weight_decay, t) -> (theta', state'..).
GraphPtr update_graph(const OptimizerConfig& config, const Shape& hyper_shape) {
  const Type weights{DType::f64, {kWeights}};
  Builder b;
  const Id g = b.input(weights);
  const Id theta = b.input(weights);
  Ids state;
  for (std::size_t k = 0; k < opt_state_names(config.kind).size(); ++k) {
    state.push_back(b.input(weights));
  }
  UpdateArgs args;
  for (Id* hyper : {&args.lr, &args.momentum, &args.beta1, &args.beta2, &args.weight_decay}) {
    *hyper = b.input({DType::f64, hyper_shape});
  }
  const Id t = b.input({DType::f64, {}});
  args.unbias1 = unbias(b, args.beta1, t);
  args.unbias2 = unbias(b, args.beta2, t);
  const Updated next = update(b, config, g, theta, state, args);
  Ids outputs{next.theta};
  outputs.insert(outputs.end(), next.opt_state.begin(), next.opt_state.end());
  return b.finish(std::move(outputs));
}

TEST_CASE(
    "every optimiser takes the steps of its formula, with scalar rates and one rate per weight") {
  for (const OptimizerKind kind : kOptimizers) {
    for (const Shape& hyper_shape : {Shape{}, Shape{kWeights}}) {
      CAPTURE(name_of(kind));
      const OptimizerConfig config{.kind = kind, .eps = 1e-3, .eps_root = 1e-4};
      const GraphPtr graph = update_graph(config, hyper_shape);
      const std::size_t num_state = opt_state_names(kind).size();
      Draw draw(7);
      const auto random = [&](std::size_t n, double low, double high) {
        Tensor64 values(n);
        for (double& x : values) x = draw.uniform(low, high);
        return values;
      };
      const auto n = static_cast<std::size_t>(num_elements(hyper_shape));
      const std::vector<Tensor64> hypers{random(n, 0.1, 0.3), random(n, 0.5, 0.9),
                                         random(n, 0.5, 0.9), random(n, 0.8, 0.99),
                                         random(n, 0.01, 0.1)};
      Tensor64 plain = random(kWeights, -1, 1);
      std::vector<PlainState> plain_state(kWeights);
      std::vector<Tensor64> current(1 + num_state, Tensor64(kWeights, 0));
      current[0] = plain;
      for (int t = 1; t <= kSteps; ++t) {
        const Tensor64 g = random(kWeights, -1, 1);
        std::vector<Tensor64> inputs{g};
        inputs.insert(inputs.end(), current.begin(), current.end());
        inputs.insert(inputs.end(), hypers.begin(), hypers.end());
        inputs.push_back({static_cast<double>(t)});
        current = evaluate(*graph, inputs);
        for (std::size_t e = 0; e < kWeights; ++e) {
          const auto hyper = [&](std::size_t k) { return hypers[k][n == 1 ? 0 : e]; };
          plain[e] = plain_update(config, {hyper(0), hyper(1), hyper(2), hyper(3), hyper(4)}, g[e],
                                  plain[e], plain_state[e], t);
        }
        CHECK(relative_difference(current[0], plain) < 1e-14);
      }
    }
  }
}

TEST_CASE("bias corrections keep their digits for beta near one, and are one for beta zero") {
  Builder b;
  const Id beta = b.input({DType::f64, {3}});
  const Id t = b.input({DType::f64, {}});
  const GraphPtr graph = b.finish({unbias(b, beta, t)});
  const double gap = std::ldexp(1.0, -30);
  const Tensor64 first = evaluate(*graph, {{1 - gap, 0.9, 0}, {1}})[0];
  CHECK(first[0] == doctest::Approx(1 / gap).epsilon(1e-14));
  CHECK(first[1] == doctest::Approx(10).epsilon(1e-14));
  CHECK(first[2] == 1);
  const Tensor64 third = evaluate(*graph, {{1 - gap, 0.9, 0}, {3}})[0];
  // 1 - (1 - d)^3 = 3 d - 3 d^2 + d^3.
  CHECK(third[0] == doctest::Approx(1 / (gap * (3 - gap * (3 - gap)))).epsilon(1e-14));
  CHECK(third[1] == doctest::Approx(1 / 0.271).epsilon(1e-14));
}

TEST_CASE("bias corrections have their derivative everywhere, at beta zero too") {
  const Tensor64 betas{0, 1e-40, 1e-9, 1e-3, 0.5, 0.9, 0.999};
  Builder b;
  const Id beta = b.input({DType::f64, {static_cast<std::int64_t>(betas.size())}});
  const Id t = b.input({DType::f64, {}});
  const Id y = unbias(b, beta, t);
  const Ids slope = pullback(b, Ids{y}, Ids{b.full_like(y, 1)}, Ids{beta});
  const GraphPtr graph = b.finish({slope[0]});
  for (const double step : {1.0, 2.0, 3.0, 50.0}) {
    const Tensor64 slopes = evaluate(*graph, {betas, {step}})[0];
    for (std::size_t i = 0; i < betas.size(); ++i) {
      CAPTURE(step);
      CAPTURE(betas[i]);
      const double rest = 1 - std::pow(betas[i], step);
      const double expected = step * std::pow(betas[i], step - 1) / (rest * rest);
      CHECK(slopes[i] == doctest::Approx(expected).epsilon(1e-9));
    }
  }
}

TEST_CASE("the average of ones has value and derivative at beta zero, and is zero before a step") {
  const Tensor64 betas{0, 1e-9, 0.5, 0.999};
  Builder b;
  const Id beta = b.input({DType::f64, {static_cast<std::int64_t>(betas.size())}});
  const Id t = b.input({DType::f64, {}});
  const Id y = average_of_ones(b, beta, t);
  const Ids slope = pullback(b, Ids{y}, Ids{b.full_like(y, 1)}, Ids{beta});
  const GraphPtr graph = b.finish({y, slope[0]});
  for (const double steps : {0.0, 1.0, 2.0, 50.0}) {
    const std::vector<Tensor64> results = evaluate(*graph, {betas, {steps}});
    for (std::size_t i = 0; i < betas.size(); ++i) {
      CAPTURE(steps);
      CAPTURE(betas[i]);
      CHECK(results[0][i] == doctest::Approx(1 - std::pow(betas[i], steps)).epsilon(1e-9));
      const double expected = steps == 0 ? 0 : -steps * std::pow(betas[i], steps - 1);
      CHECK(results[1][i] == doctest::Approx(expected).epsilon(1e-9));
    }
  }
}

TEST_CASE("an optimiser has the hyper-parameters of its formula and no others") {
  CHECK(has_hyper(OptimizerKind::sgd, MetaKind::lr));
  CHECK_FALSE(has_hyper(OptimizerKind::sgd, MetaKind::momentum));
  CHECK(has_hyper(OptimizerKind::nesterov, MetaKind::momentum));
  CHECK(has_hyper(OptimizerKind::rmsprop, MetaKind::beta2));
  CHECK_FALSE(has_hyper(OptimizerKind::rmsprop, MetaKind::beta1));
  CHECK(has_hyper(OptimizerKind::adamw, MetaKind::weight_decay));
  CHECK_FALSE(has_hyper(OptimizerKind::adam, MetaKind::weight_decay));
}

TEST_CASE("with a stopped denominator g acts through the mean alone, v and beta2 not at all") {
  for (const OptimizerKind kind : kAdaptive) {
    CAPTURE(name_of(kind));
    const OptimizerConfig config{.kind = kind, .eps_root = 1e-4, .stop_denominator = true};
    Builder b;
    const Type weights{DType::f64, {1}};
    const Id g = b.input(weights), theta = b.input(weights);
    Ids state;
    for (std::size_t k = 0; k < opt_state_names(kind).size(); ++k)
      state.push_back(b.input(weights));
    UpdateArgs args;
    for (Id* hyper : {&args.lr, &args.beta1, &args.beta2}) *hyper = b.input({DType::f64, {}});
    args.weight_decay = b.full(0.05, DType::f64);
    const Id t = b.input({DType::f64, {}});
    args.unbias1 = unbias(b, args.beta1, t);
    args.unbias2 = unbias(b, args.beta2, t);
    const Updated next = update(b, config, g, theta, state, args);
    const Id one = b.full_like(next.theta, 1);
    const Ids bars = pullback(b, Ids{next.theta, next.opt_state.back()}, Ids{one, one},
                              Ids{g, state.back(), args.beta2});
    CHECK(bars[1] == kNone);
    CHECK(bars[2] == kNone);
    const GraphPtr graph = b.finish({bars[0]});
    const double lr = 0.3, beta1 = 0.7, beta2 = 0.9, old_v = 0.2, at = 0.4;
    std::vector<Tensor64> inputs(1 + 1 + state.size(), Tensor64{0.1});
    inputs[0] = {at};
    inputs.back() = {old_v};
    for (const double x : {lr, beta1, beta2, 2.0}) inputs.push_back({x});
    const double v = beta2 * old_v + (1 - beta2) * at * at;
    const bool adam = kind != OptimizerKind::rmsprop;
    const double mean_slope = adam ? (1 - beta1) / (1 - beta1 * beta1) : 1;
    const double root = std::sqrt((adam ? v / (1 - beta2 * beta2) : v) + config.eps_root);
    CHECK(evaluate(*graph, inputs)[0][0] ==
          doctest::Approx(-lr * mean_slope / (root + config.eps)).epsilon(1e-12));
  }
}

TEST_CASE("without weight decay adamw is adam, node by node") {
  Builder b;
  const Type weights{DType::f64, {kWeights}};
  const Id g = b.input(weights);
  const Id theta = b.input(weights);
  const Ids state{b.input(weights), b.input(weights)};
  UpdateArgs args;
  for (Id* hyper : {&args.lr, &args.beta1, &args.beta2, &args.unbias1, &args.unbias2}) {
    *hyper = b.input({DType::f64, {}});
  }
  args.weight_decay = b.full(0, DType::f64);
  const Updated adam = update(b, {.kind = OptimizerKind::adam}, g, theta, state, args);
  const Updated adamw = update(b, {.kind = OptimizerKind::adamw}, g, theta, state, args);
  CHECK(adam.theta == adamw.theta);
}

}  // namespace
}  // namespace mixflow
