// The summary of a run, for summary.json and for people.
#include <limits>
#include <nlohmann/json.hpp>

#include "train/progress.h"
#include "train/trainer.h"
#include "util/error.h"
#include "util/text.h"

namespace mixflow {
namespace {

// "4.2 ± 0.1 -> 0.5 ± 0.02": figures before and, where there are any, after.
std::string change_text(const char* what, const char* format, double scale, double before,
                        double before_ci, const EvalPoint* after, double EvalPoint::*value,
                        double EvalPoint::*ci) {
  std::string text = what + formatted(format, scale * before, scale * before_ci);
  if (after) text += "  ->  " + formatted(format, scale * (after->*value), scale * (after->*ci));
  return text + "\n";
}

std::string point_text(const EvalPoint& before, const EvalPoint* after, bool accuracy) {
  std::string text =
      formatted("  after %4lld inner steps  ", static_cast<long long>(before.inner_steps));
  const std::string indent(text.size(), ' ');
  text += change_text("loss    ", "%9.4g ± %-8.2g", 1, before.loss, before.loss_ci95, after,
                      &EvalPoint::loss, &EvalPoint::loss_ci95);
  if (!accuracy) return text;
  return text + indent +
         change_text("accuracy", "%7.1f %% ± %-8.2g", 100, before.accuracy, before.accuracy_ci95,
                     after, &EvalPoint::accuracy, &EvalPoint::accuracy_ci95);
}

std::string steps_text(const std::pair<std::int64_t, std::int64_t>& steps) {
  const auto [first, last] = steps;
  return first == last ? formatted("meta-step %lld", static_cast<long long>(first))
                       : formatted("meta-steps %lld-%lld", static_cast<long long>(first),
                                   static_cast<long long>(last));
}

std::string loss_text(const TrainSummary& s) {
  if (s.steps == 0) return "";
  return formatted("Meta-loss in training: %.4g (%s) -> %.4g (%s)\n", s.meta_loss_first,
                   steps_text(s.first_steps).c_str(), s.meta_loss_last,
                   steps_text(s.last_steps).c_str());
}

std::string when_text(const TrainSummary& s) {
  if (!s.after) return "\n  before training; none was made after it stopped";
  if (s.after->step == s.steps) return "; before -> after training";
  return formatted("\n  before training -> after meta-step %lld, the last one made",
                   static_cast<long long>(s.after->step));
}

std::string evals_text(const TrainSummary& s) {
  std::string text = (s.before.trained_on ? "Not held-out: " : "Held-out: ") +
                     extent_text(s.before) + when_text(s) + "\n";
  for (std::size_t i = 0; i < s.before.points.size(); ++i) {
    const bool has_after = s.after && i < s.after->points.size();
    text += point_text(s.before.points[i], has_after ? &s.after->points[i] : nullptr,
                       s.before.has_accuracy);
  }
  if (s.before.state_loss) {
    text += formatted("  carried inner state: loss %.4g", *s.before.state_loss);
    if (s.after && s.after->state_loss) {
      text += formatted(" -> %.4g after %lld inner steps", *s.after->state_loss,
                        static_cast<long long>(s.after->state_inner_steps));
    }
    text += "\n";
  }
  if (s.before.trained_start) {
    text += "  from the theta_0 that training started from; others were not tried\n";
  }
  return text;
}

std::string best_text(const TrainSummary& s) {
  if (!s.best) return "";
  const std::string where = s.best->step == 0
                                ? "before the first meta-step"
                                : "after meta-step " + std::to_string(s.best->step) +
                                      (s.best->step == s.steps ? "" : ", in checkpoints/best");
  return "Best validation loss: " + s.best_loss + "\n  " + where + "\n";
}

std::string reverse_line(const TrainSummary& s, const char* what, std::int64_t bytes) {
  if (bytes == 0) return std::string("  ") + what + ": cannot be planned\n";
  return formatted("  %s: %s, %.2f times as much\n", what, format_bytes(bytes).c_str(),
                   static_cast<double>(bytes) / static_cast<double>(s.dynamic_bytes));
}

std::string reverse_text(const TrainSummary& s) {
  return "Dynamic memory of other modes, planned, not measured:\n" +
         (s.mode == "reverse"
              ? ""
              : reverse_line(s, "reverse, same rematerialisation", s.reverse_dynamic_bytes)) +
         reverse_line(s, "plain reverse, as create_graph=True", s.plain_reverse_dynamic_bytes);
}

std::string doubts_text(const TrainSummary& s) {
  std::string text;
  for (const std::string& warning : s.warnings) text += "Warning: " + warning + "\n";
  return text;
}

}  // namespace

std::string to_json(const TrainSummary& s) {
  nlohmann::ordered_json json = {
      {"name", s.name},
      {"mode", s.mode},
      {"steps", s.steps},
      {"interrupted", s.interrupted},
      {"seconds", s.seconds},
      {"first_step_s", s.first_step_s},
      {"step_s", s.step_s},
      {"eval_s", s.eval_s},
      {"meta_loss_first", s.meta_loss_first},
      {"meta_loss_first_steps", s.first_steps},
      {"meta_loss_last", s.meta_loss_last},
      {"meta_loss_last_steps", s.last_steps},
      {"eval_before", nlohmann::ordered_json::parse(to_json(s.before))},
      {"eval_after", s.after ? nlohmann::ordered_json::parse(to_json(*s.after)) : nullptr},
      {"best", s.best ? nlohmann::ordered_json::parse(to_json(*s.best)) : nullptr},
      {"best_loss", s.best_loss},
      {"stopped_early", s.stopped_early},
      {"warnings", s.warnings},
      {"static_bytes", s.static_bytes},
      {"dynamic_bytes", s.dynamic_bytes},
      {"arena_peak_bytes", s.arena_peak_bytes},
      {"reverse_dynamic_bytes", s.reverse_dynamic_bytes},
      {"plain_reverse_dynamic_bytes", s.plain_reverse_dynamic_bytes},
      {"peak_rss_bytes", s.peak_rss_bytes},
      {"gflops", s.gflops},
      {"mfu", s.mfu},
      {"data", nlohmann::ordered_json::parse(to_json(s.data))},
  };
  if (s.bf16_cosine) json["bf16_cosine"] = *s.bf16_cosine;
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
    s.eval_s = number("eval_s");
    s.meta_loss_first = number("meta_loss_first");
    s.meta_loss_last = number("meta_loss_last");
    s.first_steps = json.at("meta_loss_first_steps");
    s.last_steps = json.at("meta_loss_last_steps");
    s.before = parse_eval(json.at("eval_before").dump());
    if (!json.at("eval_after").is_null()) s.after = parse_eval(json.at("eval_after").dump());
    if (!json.at("best").is_null()) s.best = parse_eval(json.at("best").dump());
    s.best_loss = json.at("best_loss");
    s.stopped_early = json.value("stopped_early", false);  // of before there were any
    s.warnings = json.at("warnings");
    s.static_bytes = json.at("static_bytes");
    s.dynamic_bytes = json.at("dynamic_bytes");
    s.arena_peak_bytes = json.at("arena_peak_bytes");
    s.reverse_dynamic_bytes = json.at("reverse_dynamic_bytes");
    s.plain_reverse_dynamic_bytes = json.at("plain_reverse_dynamic_bytes");
    s.peak_rss_bytes = json.at("peak_rss_bytes");
    s.gflops = number("gflops");
    s.mfu = number("mfu");
    if (json.contains("data")) s.data = parse_facts(json.at("data").dump());
    if (json.contains("bf16_cosine")) s.bf16_cosine = number("bf16_cosine");
    return s;
  } catch (const nlohmann::json::exception& error) {
    throw UserError(std::string("not a summary of mixflow: ") + error.what());
  }
}

std::string to_text(const TrainSummary& s) {
  std::string text =
      formatted("%s: %s after %lld meta-steps in %s (%s per meta-step)\n", s.name.c_str(),
                s.interrupted     ? "interrupted"
                : s.stopped_early ? "stopped early"
                                  : "done",
                static_cast<long long>(s.steps), format_seconds(s.seconds).c_str(),
                format_seconds(s.step_s).c_str());
  text += loss_text(s) + evals_text(s) + best_text(s);
  text += formatted("Memory: static %s, dynamic %s planned = %s measured (mode %s)\n",
                    format_bytes(s.static_bytes).c_str(), format_bytes(s.dynamic_bytes).c_str(),
                    format_bytes(s.arena_peak_bytes).c_str(), s.mode.c_str());
  return text + reverse_text(s) + doubts_text(s);
}

}  // namespace mixflow
