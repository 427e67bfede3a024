// Lines of metrics and evaluations, and numbers for people.
#include "train/metrics.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "train/loss_window.h"
#include "train/progress.h"
#include "train/trainer.h"
#include "util/error.h"

using namespace mixflow;

TEST_CASE("evaluations survive JSON, and what is not finite is NaN afterwards") {
  EvalResult result{.step = 7, .split = Split::validation, .tasks = 3, .has_accuracy = true};
  result.points.push_back({.inner_steps = 5,
                           .loss = 0.1,
                           .loss_ci95 = 1e-300,
                           .accuracy = 1.0 / 3,
                           .accuracy_ci95 = std::numeric_limits<double>::quiet_NaN()});
  const EvalResult back = parse_eval(to_json(result));
  CHECK(back.step == 7);
  CHECK(back.split == Split::validation);
  CHECK(back.tasks == 3);
  CHECK(back.has_accuracy);
  REQUIRE(back.points.size() == 1);
  CHECK(back.points[0].inner_steps == 5);
  CHECK(back.points[0].loss == 0.1);
  CHECK(back.points[0].loss_ci95 == 1e-300);
  CHECK(back.points[0].accuracy == 1.0 / 3);
  CHECK(std::isnan(back.points[0].accuracy_ci95));
  CHECK_FALSE(back.state_loss.has_value());
  result.state_loss = 0.25;
  result.state_inner_steps = 40;
  const EvalResult carried = parse_eval(to_json(result));
  CHECK(carried.state_loss == 0.25);
  CHECK(carried.state_inner_steps == 40);
  for (const char* bad : {"", "{", "[]", "{\"step\": 1}",
                          "{\"step\":1,\"split\":\"test\",\"tasks\":1,\"points\":[3]}",
                          "{\"step\":1,\"split\":\"train\",\"tasks\":1,\"points\":[]}"})
    CHECK_THROWS_AS(parse_eval(bad), UserError);
}

TEST_CASE("a summary survives JSON") {
  TrainSummary summary{.name = "a", .steps = 3, .interrupted = true, .seconds = 0.1};
  summary.first_step_s = 0.2;
  summary.step_s = 1.0 / 3;
  summary.meta_loss_last = std::numeric_limits<double>::quiet_NaN();
  summary.before.points.push_back({.inner_steps = 1, .loss = 2});
  summary.arena_peak_bytes = std::int64_t{1} << 53;
  summary.mode = "mixed";
  summary.mfu = 0.7;
  CHECK(to_json(parse_summary(to_json(summary))) == to_json(summary));
  CHECK_FALSE(parse_summary(to_json(summary)).after);
  summary.after = summary.before;
  summary.best = summary.before;
  summary.warnings = {"one", "two"};
  summary.last_steps = {2, 3};
  CHECK(to_json(parse_summary(to_json(summary))) == to_json(summary));
  CHECK_THROWS_AS(parse_summary("{}"), UserError);
}

TEST_CASE("the summary for people says what its figures are of") {
  TrainSummary s{.name = "a", .steps = 12, .interrupted = true, .mode = "mixed"};
  s.meta_loss_first = 3;
  s.meta_loss_last = 2;
  s.first_steps = {1, 3};
  s.last_steps = {10, 12};
  s.dynamic_bytes = 1024;
  s.reverse_dynamic_bytes = 2048;
  s.plain_reverse_dynamic_bytes = 4096;
  s.before = {.split = Split::validation, .tasks = 60};
  s.before.points.push_back({.inner_steps = 5, .loss = 1.5, .loss_ci95 = 0.1});
  const auto says = [&](const std::string& part) {
    const std::string text = to_text(s);
    CHECK_MESSAGE(text.find(part) != std::string::npos, text << "\nlacks " << part);
  };
  says("3 (meta-steps 1-3) -> 2 (meta-steps 10-12)");
  says("Held-out: validation, 60 tasks\n  before training; none was made");
  says("planned, not measured");
  says("same rematerialisation: 2.0 KiB, 2.00 times");
  says("create_graph=True: 4.0 KiB, 4.00 times");
  CHECK(to_text(s).find("->     ") == std::string::npos);  // no value of after
  s.after = s.before;
  s.after->step = 8;
  s.after->points[0].loss = 0.5;
  says("after meta-step 8, the last one made");
  s.interrupted = false;
  s.steps = 8;
  says("before -> after training");
  s.best = s.before;
  s.best->step = 4;
  s.best_loss = "0.25 after 5 inner steps";
  says("Best validation loss: 0.25 after 5 inner steps\n  after meta-step 4, in checkpoints/best");
  s.warnings = {"training ended worse than it began"};
  says("Warning: training ended worse");
  s.plain_reverse_dynamic_bytes = 0;
  says("create_graph=True: cannot be planned");
  for (std::size_t start = 0, end; start < to_text(s).size(); start = end + 1) {
    const std::string text = to_text(s);
    end = text.find('\n', start);
    CHECK_MESSAGE(end - start <= 82, text.substr(start, end - start));  // "±" has two bytes
  }
}

TEST_CASE("the loss window means over the first and the last losses, across a restore") {
  LossWindow whole(1000);
  CHECK(std::isnan(whole.last()));
  double sum_first = 0, sum_last = 0;
  LossWindow before(1000), after(1000);
  for (int i = 1; i <= 250; ++i) {
    whole.add(i);
    (i <= 130 ? before : after).add(i);
    if (i == 130) after.restore(before.first(), 130, before.recent());
    if (i <= 100) sum_first += i;
    if (i > 150) sum_last += i;
  }
  CHECK(whole.first() == doctest::Approx(sum_first / 100));
  CHECK(whole.last() == doctest::Approx(sum_last / 100));
  CHECK(after.first() == whole.first());
  CHECK(after.last() == whole.last());
  CHECK(after.recent() == whole.recent());
}

TEST_CASE("the two means of a run share no meta-step, and say which they are of") {
  using Steps = LossWindow::Steps;
  LossWindow few(8);
  CHECK(few.first_steps() == Steps{0, 0});
  for (int i = 1; i <= 8; ++i) {
    few.add(i);
    if (i == 1) CHECK(few.last_steps() == Steps{1, 1});  // of a run that is stopped
    if (i == 3) CHECK(few.last_steps() == Steps{3, 3});
  }
  CHECK(few.first_steps() == Steps{1, 2});
  CHECK(few.last_steps() == Steps{7, 8});
  CHECK(few.first() == 1.5);
  CHECK(few.last() == 7.5);
  LossWindow many(1000);
  for (int i = 1; i <= 1000; ++i) many.add(i);
  CHECK(many.first_steps() == Steps{1, 100});
  CHECK(many.last_steps() == Steps{901, 1000});
  LossWindow one(1);
  one.add(3);
  CHECK(one.first() == 3);
  CHECK(one.last() == 3);
}

TEST_CASE("times and sizes are written for people") {
  CHECK(format_seconds(0.0123) == "0.0123 s");
  CHECK(format_seconds(4.21) == "4.2 s");
  CHECK(format_seconds(200) == "3 min 20 s");
  CHECK(format_seconds(7500) == "2 h 5 min");
  CHECK(format_bytes(0) == "0 B");
  CHECK(format_bytes(1023) == "1023 B");
  CHECK(format_bytes(12595) == "12.3 KiB");
  CHECK(format_bytes(4 << 20) == "4.0 MiB");
  CHECK(format_bytes(std::int64_t{3} << 40) == "3.0 TiB");
  CHECK(format_bytes(std::int64_t{5000} << 40) == "5000.0 TiB");
}

TEST_CASE("resident memory is measured, and its peak is not below it") {
  CHECK(rss_bytes() > 1 << 20);
  CHECK(peak_rss_bytes() >= rss_bytes() / 2);
}

TEST_CASE("the line of an evaluation fits a terminal and says the ends of what was evaluated") {
  EvalResult result{.step = 1234567, .split = Split::validation, .tasks = 100};
  result.has_accuracy = true;
  result.points = {{0, 2.302585, 0.01, 0.101, 0.01},
                   {5, 0.534, 0.02, 0.88, 0.02},
                   {100, 0.25, 0.0123, 0.912, 0.02}};
  CHECK(to_line(result) ==
        "step 1234567  validation: loss 2.303 -> 0.25 ± 0.012, accuracy 10.1 -> 91.2 %");
  result.has_accuracy = false;
  CHECK(to_line(result) ==
        "step 1234567  validation: loss 2.303 -> 0.25 ± 0.012 (inner steps 0 -> 100)");
  result.points = {{5, 0.5, 0, 0, 0}};
  CHECK(to_line(result) == "step 1234567  validation: loss 0.5 (inner steps 5)");
}
