// The best evaluation of a run, and what makes its figures doubtful.
#include "train/best.h"

#include <doctest/doctest.h>

#include <limits>

#include "configs.h"
#include "train/doubts.h"

using namespace mixflow;

namespace {

EvalResult evaluation(std::int64_t step, double after_two, double after_five,
                      Split split = Split::validation) {
  EvalResult result{.step = step, .split = split};
  result.points = {{.inner_steps = 2, .loss = after_two, .loss_ci95 = 0.1},
                   {.inner_steps = 5, .loss = after_five, .loss_ci95 = 0.1}};
  return result;
}

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("the best state has the lowest validation loss after inner.steps steps") {
  BestState best(InnerConfig{.steps = 2});
  CHECK_FALSE(best.add(evaluation(0, kNan, 0)));
  CHECK(best.add(evaluation(10, 3, 1)));
  CHECK_FALSE(best.add(evaluation(20, 1, 1, Split::test)));  // test data choose nothing
  CHECK(best.evaluations_since() == 0);
  CHECK_FALSE(best.add(evaluation(20, 3, 0)));
  CHECK_FALSE(best.add(evaluation(30, kNan, 0)));
  CHECK(best.evaluations_since() == 2);
  CHECK(best.add(evaluation(40, 2.5, 9)));
  CHECK(best.evaluations_since() == 0);
  CHECK(best.best()->step == 40);
}

TEST_CASE("a run is judged by the carried state, by inner.steps, else by the most steps") {
  EvalResult result = evaluation(0, 2, 5);
  CHECK(judged(result, {.steps = 2}).loss == 2);
  CHECK(judged(result, {.steps = 3}).loss == 5);
  CHECK(judged(result, {.steps = 3}).name == "after 5 inner steps");
  result.state_loss = 7;
  CHECK(judged(result, {.steps = 2}).loss == 7);
}

TEST_CASE("a meta-gradient that grows by 10^3 is told once, a noisy one never") {
  NormGrowth growth;
  for (int t = 1; t <= 10; ++t) CHECK_FALSE(growth.add(t, t % 2 == 0 ? 0.5 : 2));
  CHECK_FALSE(growth.add(11, 1999));
  const auto told = growth.add(12, 2000);
  REQUIRE(told.has_value());
  CHECK(told->starts_with("meta-step 12: the meta-gradient's norm is 2e+03"));
  CHECK_FALSE(growth.add(13, 1e9));
  NormGrowth from_zero;  // where nothing moves at first, there is nothing to compare with
  for (int t = 1; t <= 20; ++t) CHECK_FALSE(from_zero.add(t, 0));
  for (int t = 21; t <= 30; ++t) CHECK_FALSE(from_zero.add(t, 1e3));
}

TEST_CASE("a rate below 0 is told once, unless a transform or bounds keep it") {
  const auto warnings = [](const std::string& parameter, const std::string& tensor, double value,
                           const Settings& settings = {}) {
    Settings all = settings;
    all.push_back("meta.parameters=[" + parameter + "]");
    const Built built(small_config(all));
    StageRun run(built.experiment.train, {});
    draw_initial_values(built.experiment, run);
    const int i = run.stage().input(tensor);
    REQUIRE(i >= 0);
    const Type& type = run.stage().inputs[static_cast<std::size_t>(i)].type;
    std::vector<double> values = to_doubles(type, run.input(tensor).data());
    values.back() = value;
    from_doubles(type, values, run.input(tensor).data());
    DomainWatch watch(built.experiment.config);
    const auto told = watch.look(7, run);
    CHECK(watch.look(8, run).empty());
    return told;
  };
  const auto per_tensor =
      warnings("{kind: lr, granularity: per_tensor}", "eta.lr.layers.1.weight", -0.5);
  REQUIRE(per_tensor.size() == 1);
  CHECK(per_tensor[0].starts_with("meta-step 7: eta.lr.layers.1.weight is -0.5"));
  const auto per_parameter =
      warnings("{kind: lr, granularity: per_parameter}", "eta.lr.layers.0.weight", -2);
  REQUIRE(per_parameter.size() == 1);
  CHECK(per_parameter[0].find("in 1 of 6") != std::string::npos);
  CHECK(warnings("{kind: lr}", "eta.lr", 0).empty());
  CHECK(warnings("{kind: lr, transform: exp}", "eta.lr", -5).empty());
  CHECK(warnings("{kind: lr, bounds: [0, .inf]}", "eta.lr", -5).empty());
  CHECK(warnings("{kind: lr, bounds: [-1, .inf]}", "eta.lr", -1).size() == 1);
  const Settings momentum{"inner.optimizer.kind=momentum"};
  CHECK(warnings("{kind: momentum}", "eta.momentum", 1, momentum).size() == 1);
  CHECK(warnings("{kind: momentum}", "eta.momentum", 0.99, momentum).empty());
  CHECK(warnings("{kind: l2, init: 0.1}", "eta.l2", -1e-3).size() == 1);
}

TEST_CASE("training that ended worse than it began is told, noise is not") {
  const InnerConfig inner{.steps = 5};
  CHECK_FALSE(worse_than_before(evaluation(0, 1, 1), evaluation(9, 9, 1.05), inner));
  CHECK_FALSE(worse_than_before(evaluation(0, 1, 1), evaluation(9, 9, 0.5), inner));
  const auto worse = worse_than_before(evaluation(0, 1, 1), evaluation(9, 0, 55), inner);
  REQUIRE(worse.has_value());
  CHECK(*worse ==
        "training ended worse than it began: validation loss after 5 inner steps 1 -> 55");
  CHECK(worse_than_before(evaluation(0, 1, 1), evaluation(9, 0, kNan), inner).has_value());
  CHECK_FALSE(worse_than_before(evaluation(0, 1, kNan), evaluation(9, 0, 1), inner));
}
