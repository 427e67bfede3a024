#include "report/series.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "runs.h"
#include "util/error.h"

using namespace mixflow;

TEST_CASE("curves are read by name from both files, and a line that is cut short is left out") {
  const TemporaryDirectory directory;
  write_run(
      directory.path,
      {.metrics = {R"({"step":1,"meta_loss":5.5,"mfu":0.1})", R"({"step":2,"meta_loss":null})"},
       .evals = {R"({"step":0,"split":"test","tasks":4,"points":[)"
                 R"({"inner_steps":5,"loss":0.25,"loss_ci95":0.1}],"state_loss":7})"}});
  std::string text = read_text(directory / "metrics.jsonl");
  write_atomically(directory / "metrics.jsonl", text + R"({"step":3,"meta_l)");
  const auto series = read_series(directory.path, {"meta_loss", "test.loss_after_5", "nothing"});
  REQUIRE(series.size() == 2);
  const Series& loss = series.at("meta_loss");
  CHECK(loss.step == std::vector<double>{1, 2});
  CHECK(loss.value[0] == 5.5);
  CHECK(std::isnan(loss.value[1]));
  CHECK(series.at("test.loss_after_5").value == std::vector<double>{0.25});
  CHECK(last_metrics(directory.path).front().second == 2);  // step
  const auto names = series_names(directory.path);
  CHECK(std::ranges::find(names, "test.state_loss") != names.end());
}

TEST_CASE("a broken line inside a file is an error with its place") {
  const TemporaryDirectory directory;
  write_run(directory.path, {.metrics = {R"({"step":1,"meta_loss":5.5})", "{]", "{}"}});
  const std::string message =
      message_of<UserError>([&] { read_series(directory.path, {"meta_loss"}); });
  CHECK(message.starts_with(directory / "metrics.jsonl" + ":2: not a line that mixflow writes"));
}

TEST_CASE("text where a number belongs is an error, null is not") {
  const TemporaryDirectory directory;
  const auto evaluation = [](const std::string& loss) {
    return R"({"step":1,"split":"test","points":[{"inner_steps":5,"loss":)" + loss + "}]}";
  };
  write_run(directory.path, {.evals = {evaluation("null"), evaluation("\"x\"")}});
  const std::string message =
      message_of<UserError>([&] { read_series(directory.path, {"test.loss_after_5"}); });
  CHECK(message.starts_with(directory / "eval.jsonl" + ":2: not a line that mixflow writes"));
}

TEST_CASE("statistics of a curve pass over what is not finite, but the last value is as it is") {
  const Series series{.step = {1, 2, 3, 4}, .value = {3, NAN, 1, 5}};
  CHECK(*stat_of(series, "min") == 1);
  CHECK(*stat_of(series, "max") == 5);
  CHECK(*stat_of(series, "mean") == 3);
  CHECK(*stat_of(series, "first") == 3);
  CHECK(*stat_of(series, "last") == 5);
  CHECK(std::isnan(*stat_of({.step = {1}, .value = {NAN}}, "last")));
  CHECK(!stat_of({}, "min"));
}

TEST_CASE("thinned curves keep their ends and every spike") {
  std::vector<double> values(10'000, 1);
  values[1234] = 100;
  values[7777] = -100;
  values[5000] = NAN;
  const std::vector<std::size_t> kept = thinned(values, 400);
  CHECK(kept.size() <= 400);
  CHECK(std::ranges::is_sorted(kept));
  CHECK(kept.front() == 0);
  CHECK(kept.back() == values.size() - 1);
  for (const std::size_t spike : {1234U, 7777U}) {
    CHECK(std::ranges::find(kept, spike) != kept.end());
  }
  CHECK(thinned({1, 2, 3}, 400) == std::vector<std::size_t>{0, 1, 2});
}
