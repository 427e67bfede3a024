#include "train/metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "util/error.h"
#include "util/text.h"

namespace mixflow {

std::string to_json(const MetricsLine& m) {
  const nlohmann::ordered_json json = {
      {"step", m.step},
      {"meta_loss", m.meta_loss},
      {"inner_loss_first", m.inner_loss_first},
      {"inner_loss_last", m.inner_loss_last},
      {"meta_grad_norm", m.meta_grad_norm},
      {"meta_lr", m.meta_lr},
      {"step_s", m.step_s},
      {"wall_s", m.wall_s},
      {"gflops", m.gflops},
      {"mfu", m.mfu},
      {"examples_per_s", m.examples_per_s},
      {"static_bytes", m.static_bytes},
      {"dynamic_bytes", m.dynamic_bytes},
      {"arena_peak_bytes", m.arena_peak_bytes},
      {"rss_bytes", m.rss_bytes},
  };
  return json.dump();
}

namespace {

const char* interval_over(const EvalResult& result) {
  if (result.examples > 0) return "examples";
  return result.repetitions ? "repetitions" : "tasks";
}

}  // namespace

std::string to_json(const EvalResult& result) {
  nlohmann::ordered_json points = nlohmann::ordered_json::array();
  for (const EvalPoint& p : result.points) {
    nlohmann::ordered_json point = {
        {"inner_steps", p.inner_steps}, {"loss", p.loss}, {"loss_ci95", p.loss_ci95}};
    if (result.has_accuracy) {
      point["accuracy"] = p.accuracy;
      point["accuracy_ci95"] = p.accuracy_ci95;
    }
    points.push_back(std::move(point));
  }
  nlohmann::ordered_json json = {{"step", result.step},
                                 {"split", name_of(result.split)},
                                 {"tasks", result.tasks},
                                 {"interval_over", interval_over(result)},
                                 {"points", std::move(points)}};
  if (result.examples > 0) json["examples"] = result.examples;
  if (result.trained_on) json["trained_on"] = true;
  if (result.trained_start) json["theta_0"] = "as in training";
  if (result.state_loss) {
    json["state_loss"] = *result.state_loss;
    json["state_inner_steps"] = result.state_inner_steps;
  }
  return json.dump();
}

std::string to_line(const EvalResult& result) {
  constexpr std::size_t kColumns = 80;
  std::string text =
      "step " + std::to_string(result.step) + "  " + std::string(name_of(result.split)) + ": loss ";
  if (result.points.empty()) return text;
  const EvalPoint& first = result.points.front();
  const EvalPoint& last = result.points.back();
  const bool several = result.points.size() > 1;
  if (several) text += formatted("%.4g -> ", first.loss);
  text += formatted("%.4g", last.loss);
  std::string accuracy;
  if (result.has_accuracy) {
    accuracy =
        several ? formatted(", accuracy %.1f -> %.1f %%", 100 * first.accuracy, 100 * last.accuracy)
                : formatted(", accuracy %.1f %%", 100 * last.accuracy);
  }
  const std::string spread = formatted(" ± %.2g", last.loss_ci95);
  const std::string steps =
      several ? formatted(" (inner steps %lld -> %lld)", static_cast<long long>(first.inner_steps),
                          static_cast<long long>(last.inner_steps))
              : formatted(" (inner steps %lld)", static_cast<long long>(last.inner_steps));
  const auto fits = [&](const std::string& more) {
    return text.size() + accuracy.size() + more.size() <= kColumns;
  };
  if (last.loss_ci95 > 0 && fits(spread)) text += spread;
  text += accuracy;
  accuracy.clear();
  if (fits(steps)) text += steps;
  return text;
}

std::string extent_text(const EvalResult& result) {
  const std::int64_t count = result.examples > 0 ? result.examples : result.tasks;
  std::string things = interval_over(result);
  if (count == 1) things.pop_back();
  return std::string(name_of(result.split)) + (result.trained_on ? " (trained on)" : "") + ", " +
         std::to_string(count) + " " + things;
}

std::string to_text(const EvalResult& result) {
  std::string text = "meta-step " + std::to_string(result.step) + ": " + extent_text(result) + ":";
  for (const EvalPoint& p : result.points) {
    char part[160];
    std::snprintf(part, sizeof part, "%s loss %.5g ± %.2g after %lld inner steps",
                  &p == result.points.data() ? "" : ";", p.loss, p.loss_ci95,
                  static_cast<long long>(p.inner_steps));
    text += part;
    if (!result.has_accuracy) continue;
    std::snprintf(part, sizeof part, ", accuracy %.1f %% ± %.1f", 100 * p.accuracy,
                  100 * p.accuracy_ci95);
    text += part;
  }
  if (result.state_loss) {
    char part[96];
    std::snprintf(part, sizeof part, "; carried inner state: loss %.5g after %lld inner steps",
                  *result.state_loss, static_cast<long long>(result.state_inner_steps));
    text += part;
  }
  return text;
}

namespace {

// JSON has no NaN and no infinity: both are written as null.
double number_or_nan(const nlohmann::json& json) {
  return json.is_null() ? std::numeric_limits<double>::quiet_NaN() : json.get<double>();
}

Split split_named(const std::string& name) {
  for (const Split split : {Split::validation, Split::test}) {
    if (name == name_of(split)) return split;
  }
  throw UserError("not an evaluation of mixflow: split " + in_quotes(name));
}

}  // namespace

EvalResult parse_eval(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    EvalResult result{
        .step = json.at("step"), .split = split_named(json.at("split")), .tasks = json.at("tasks")};
    // Runs of before these were written have none of them.
    result.examples = json.value("examples", std::int64_t{0});
    result.repetitions = json.value("interval_over", "") == "repetitions";
    result.trained_on = json.value("trained_on", false);
    result.trained_start = json.contains("theta_0");
    for (const nlohmann::json& p : json.at("points")) {
      EvalPoint point{.inner_steps = p.at("inner_steps"),
                      .loss = number_or_nan(p.at("loss")),
                      .loss_ci95 = number_or_nan(p.at("loss_ci95"))};
      if (p.contains("accuracy")) {
        result.has_accuracy = true;
        point.accuracy = number_or_nan(p.at("accuracy"));
        point.accuracy_ci95 = number_or_nan(p.at("accuracy_ci95"));
      }
      result.points.push_back(point);
    }
    if (json.contains("state_loss")) {
      result.state_loss = number_or_nan(json.at("state_loss"));
      result.state_inner_steps = json.at("state_inner_steps");
    }
    return result;
  } catch (const nlohmann::json::exception& error) {
    throw UserError(std::string("not an evaluation of mixflow: ") + error.what());
  }
}

std::int64_t rss_bytes() {
  long total = 0, resident = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%ld %ld", &total, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return static_cast<std::int64_t>(resident) * sysconf(_SC_PAGESIZE);
}

std::int64_t peak_rss_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace mixflow
