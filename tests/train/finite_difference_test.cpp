// gradient.mode: finite_difference.
#include "train/finite_difference.h"

#include <doctest/doctest.h>

#include <cmath>

#include "configs.h"

namespace mixflow {
namespace {

double objective_at(const Experiment& experiment, StageRun& run, const StageRun& from, double moved,
                    const Port& port) {
  run.copy_parameters(from);
  for (const Port& input : run.stage().inputs) {
    if (input.role != Role::data_inner && input.role != Role::data_outer) continue;
    const std::span<std::byte> data = from.input(input.name);
    std::memcpy(run.input(input.name).data(), data.data(), data.size());
  }
  from_doubles(port.type, {moved}, run.input(port.name).data());
  run.run();
  double mean = 0;
  for (const double loss : run.results("outer_loss"))
    mean += loss / static_cast<double>(experiment.config.meta.batch);
  return mean;
}

TEST_CASE("central differences move an entry by eps times max(1, its size), as the key says") {
  // A rate of 0.05, which is moved by eps itself, and its logarithm, by three times that.
  for (const std::string transform : {"identity", "exp"}) {
    CAPTURE(transform);
    constexpr double kEps = 0.01;
    const Config config = small_config(
        {"precision=f64", "gradient.mode=finite_difference", "gradient.finite_difference_eps=0.01",
         "inner.optimizer.lr=0.05", "meta.parameters=[{kind: lr, transform: " + transform + "}]"});
    const std::unique_ptr<TaskSource> source = make_source(config);
    const Experiment experiment =
        build_experiment(config, *source, DType::f64, {.grad = true, .objective = true});
    StageRun point(experiment.grad, {.threads = 1}), run(experiment.objective, {.threads = 1});
    draw_initial_values(experiment, point);
    point.fill(*source, Split::train, 1, Precision::f64);
    const Port& port = experiment.eta[0];
    const double eta = to_doubles(port.type, point.input(port.name).data())[0];
    CHECK(eta == doctest::Approx(transform == "exp" ? std::log(0.05) : 0.05));
    const double step = kEps * std::max(1.0, std::abs(eta));
    const double expected = (objective_at(experiment, run, point, eta + step, port) -
                             objective_at(experiment, run, point, eta - step, port)) /
                            (2 * step);
    const auto gradient = FiniteDifference(experiment, {.threads = 1}).gradient(point);
    REQUIRE(gradient.size() == 1);
    CHECK(gradient[0][0] == doctest::Approx(expected).epsilon(1e-12));
  }
}

}  // namespace
}  // namespace mixflow
