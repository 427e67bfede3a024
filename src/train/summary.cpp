// The summary of a run, for summary.json and for people.
#include <limits>
#include <nlohmann/json.hpp>

#include "train/progress.h"
#include "train/trainer.h"
#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

std::string table_row(const EvalPoint& before, const EvalPoint& after, bool accuracy) {
  std::string row =
      formatted("  after %4lld inner steps   loss %10.4g ± %-9.2g ->  %10.4g ± %-9.2g",
                static_cast<long long>(after.inner_steps), before.loss, before.loss_ci95,
                after.loss, after.loss_ci95);
  if (accuracy) {
    row += formatted("  accuracy %5.1f %% -> %5.1f %% ± %.1f", 100 * before.accuracy,
                     100 * after.accuracy, 100 * after.accuracy_ci95);
  }
  return row + "\n";
}

}  // namespace

std::string to_json(const TrainSummary& s) {
  const nlohmann::ordered_json json = {
      {"name", s.name},
      {"mode", s.mode},
      {"steps", s.steps},
      {"interrupted", s.interrupted},
      {"seconds", s.seconds},
      {"first_step_s", s.first_step_s},
      {"step_s", s.step_s},
      {"meta_loss_first", s.meta_loss_first},
      {"meta_loss_last", s.meta_loss_last},
      {"eval_before", nlohmann::ordered_json::parse(to_json(s.before))},
      {"eval_after", nlohmann::ordered_json::parse(to_json(s.after))},
      {"static_bytes", s.static_bytes},
      {"dynamic_bytes", s.dynamic_bytes},
      {"arena_peak_bytes", s.arena_peak_bytes},
      {"reverse_dynamic_bytes", s.reverse_dynamic_bytes},
      {"peak_rss_bytes", s.peak_rss_bytes},
      {"gflops", s.gflops},
      {"mfu", s.mfu},
      {"data", nlohmann::ordered_json::parse(to_json(s.data))},
  };
  return json.dump(2);
}

TrainSummary parse_summary(const std::string& text) {
  try {
    const nlohmann::json json = nlohmann::json::parse(text);
    const auto number = [&](const char* key) {
      const nlohmann::json& value = json.at(key);
      return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
    };
    TrainSummary s;
    s.name = json.at("name");
    s.mode = json.at("mode");
    s.steps = json.at("steps");
    s.interrupted = json.at("interrupted");
    s.seconds = number("seconds");
    s.first_step_s = number("first_step_s");
    s.step_s = number("step_s");
    s.meta_loss_first = number("meta_loss_first");
    s.meta_loss_last = number("meta_loss_last");
    s.before = parse_eval(json.at("eval_before").dump());
    s.after = parse_eval(json.at("eval_after").dump());
    s.static_bytes = json.at("static_bytes");
    s.dynamic_bytes = json.at("dynamic_bytes");
    s.arena_peak_bytes = json.at("arena_peak_bytes");
    s.reverse_dynamic_bytes = json.at("reverse_dynamic_bytes");
    s.peak_rss_bytes = json.at("peak_rss_bytes");
    s.gflops = number("gflops");
    s.mfu = number("mfu");
    if (json.contains("data")) s.data = parse_facts(json.at("data").dump());
    return s;
  } catch (const nlohmann::json::exception& error) {
    throw UserError(std::string("not a summary of mixflow: ") + error.what());
  }
}

std::string to_text(const TrainSummary& s) {
  std::string text =
      formatted("%s: %s after %lld meta-steps in %s (%s per meta-step)\n", s.name.c_str(),
                s.interrupted ? "interrupted" : "done", static_cast<long long>(s.steps),
                format_seconds(s.seconds).c_str(), format_seconds(s.step_s).c_str());
  text += formatted("Meta-loss in training: %.4g at the start, %.4g at the end\n",
                    s.meta_loss_first, s.meta_loss_last);
  text +=
      formatted("Held-out, %s (%lld), before -> after meta-training:\n",
                std::string(name_of(s.after.split)).c_str(), static_cast<long long>(s.after.tasks));
  for (std::size_t i = 0; i < s.after.points.size() && i < s.before.points.size(); ++i) {
    text += table_row(s.before.points[i], s.after.points[i], s.after.has_accuracy);
  }
  if (s.before.state_loss && s.after.state_loss) {
    text += formatted("  carried inner state, after %lld inner steps   loss %.4g -> %.4g\n",
                      static_cast<long long>(s.after.state_inner_steps), *s.before.state_loss,
                      *s.after.state_loss);
  }
  text += formatted("Memory: static %s, dynamic %s planned = %s measured (mode %s)\n",
                    format_bytes(s.static_bytes).c_str(), format_bytes(s.dynamic_bytes).c_str(),
                    format_bytes(s.arena_peak_bytes).c_str(), s.mode.c_str());
  if (s.mode != "reverse") {
    text += formatted(
        "        the reverse baseline would have needed %s dynamic, %.2f times as much\n",
        format_bytes(s.reverse_dynamic_bytes).c_str(),
        static_cast<double>(s.reverse_dynamic_bytes) / static_cast<double>(s.dynamic_bytes));
  }
  return text;
}

}  // namespace mixflow
