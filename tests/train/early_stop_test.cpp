// When a training ends early, which evaluation it keeps, and what evaluations of a fixed data set
// say of themselves.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "../data/bytes.h"
#include "configs.h"
#include "train/idle_plan.h"
#include "train/trainer.h"
#include "util/file.h"
#include "util/text.h"

using namespace mixflow;

namespace {

// Meta-steps that are too small to change anything in f32.
const Settings kFrozen = {"meta.optimizer={kind: sgd, lr: 1e-30}", "meta.steps=40",
                          "meta.eval.every=2"};

Settings operator+(Settings a, const Settings& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct TextFile : TemporaryDirectory {
  TextFile() {
    std::string text;
    for (int i = 0; i < 400; ++i) text += static_cast<char>('a' + i * i % 26);
    write_atomically(std::filesystem::path(*this / "text.txt"), text);
  }
  Config config(const Settings& settings) const {
    return parse_config(
        "data: {kind: text, path: text.txt, sequence: 4, batch: 2}\n"
        "model: {kind: transformer, vocab: 256, d_model: 4, ffw: 8, heads: 2, kv_size: 2, layers: "
        "1}\n"
        "inner: {steps: 2}\n"
        "meta: {parameters: [{kind: init}], batch: 2, eval: {tasks: 2}}\n",
        *this / "text.yaml", settings);
  }
};

// "0 validation, 0 test, 2 validation, ..": the evaluations in their order.
std::string evaluations(const std::filesystem::path& run) {
  std::string text;
  const std::string lines = read_text(run / "eval.jsonl");
  for (const std::string_view line : split(lines, '\n')) {
    if (line.empty()) continue;
    const auto json = nlohmann::json::parse(line);
    text += (text.empty() ? "" : ", ") + std::to_string(json.at("step").get<int>()) + " " +
            json.at("split").get<std::string>();
  }
  return text;
}

bool has_line_with(const std::vector<std::string>& lines, const std::string& part) {
  return std::ranges::any_of(
      lines, [&](const std::string& line) { return line.find(part) != std::string::npos; });
}

}  // namespace

TEST_CASE("patience ends a training on tabular and on text data, and a resumed one has ended") {
  const TabularFiles tabular;
  const TextFile text;
  const Settings settings = kFrozen + Settings{"meta.early_stop.patience=3"};
  for (const Config& config : {tabular.config(settings), text.config(settings)}) {
    const TemporaryDirectory place;
    const std::filesystem::path out = place.path / "run";
    const TrainSummary summary = train(config, {.out = out, .progress = false});
    CHECK(summary.stopped_early);
    CHECK_FALSE(summary.interrupted);
    CHECK(summary.steps == 6);  // the best at 0, then 2, 4 and 6
    CHECK(to_text(summary).find("stopped early after 6 meta-steps") != std::string::npos);
    REQUIRE(summary.after);
    CHECK(summary.after->step == 6);
    CHECK(summary.after->split == Split::test);
    const std::string before = read_text(out / "eval.jsonl");
    const TrainSummary again =
        train(config, {.out = out, .begin = Begin::resume, .progress = false});
    CHECK(to_json(again) == to_json(summary));
    CHECK(read_text(out / "eval.jsonl") == before);
  }
}

TEST_CASE("without patience, or while the validation loss falls, a training runs to its end") {
  const TabularFiles files;
  const auto steps = [&](const Settings& settings) {
    const TemporaryDirectory place;
    const TrainSummary summary =
        train(files.config(settings), {.out = place.path / "run", .progress = false});
    CHECK_FALSE(summary.stopped_early);
    return summary.steps;
  };
  CHECK(steps(kFrozen) == 40);
  // A rate that begins too small: more of it is better each time.
  CHECK(steps({"inner.optimizer.lr=1e-4", "meta.optimizer={kind: sgd, lr: 1e-4}", "meta.steps=8",
               "meta.eval.every=2", "meta.early_stop.patience=1"}) == 8);
}

TEST_CASE("the best state of tabular data is that with the lowest validation loss") {
  const TabularFiles files;
  const TemporaryDirectory place;
  const std::filesystem::path out = place.path / "run";
  const TrainSummary summary =
      train(files.config({"inner.optimizer.lr=1e-4", "meta.optimizer={kind: sgd, lr: 1e-4}",
                          "meta.steps=4", "meta.eval.every=2"}),
            {.out = out, .progress = false});
  CHECK(evaluations(out) == "0 test, 0 validation, 2 validation, 2 test, 4 test, 4 validation");
  REQUIRE(summary.best);
  CHECK(summary.best->step == 4);
  CHECK(summary.best->split == Split::validation);
  CHECK(summary.best->trained_on);
  CHECK(std::filesystem::exists(out / "checkpoints" / "best"));
}

TEST_CASE("without test data the summary is of the validation data, and says so") {
  const TabularFiles files;
  const TemporaryDirectory place;
  const std::filesystem::path out = place.path / "run";
  const TrainSummary summary = train(files.config({"data.test=0", "data.batch=0", "meta.steps=2"}),
                                     {.out = out, .progress = false});
  CHECK(summary.before.split == Split::validation);
  CHECK(evaluations(out) == "0 validation, 2 validation");
  const std::string text = to_text(summary);
  CHECK(text.find("Not held-out: validation (trained on), 8 examples") != std::string::npos);
  CHECK(text.find("from the theta_0 that training started from") != std::string::npos);
  const std::string lines = read_text(out / "eval.jsonl");
  const auto line = nlohmann::json::parse(lines.substr(0, lines.find('\n')));
  CHECK(line.at("trained_on") == true);
  CHECK(line.at("theta_0") == "as in training");
  CHECK(line.at("interval_over") == "examples");
  CHECK(line.at("examples") == 8);
  CHECK(line.at("points")[0].at("loss_ci95").get<double>() > 0);
}

TEST_CASE("several equal tasks of one fixed data set are told, in training and in evaluation") {
  const TabularFiles files;
  const auto warnings = [&](const Settings& settings) {
    const TemporaryDirectory place;
    return train(files.config(Settings{"meta.steps=1"} + settings),
                 {.out = place.path / "run", .progress = false})
        .warnings;
  };
  const auto fixed = warnings({"data.batch=0", "meta.batch=4", "meta.eval.tasks=50"});
  CHECK(has_line_with(fixed, "meta.batch: all 4 tasks are the same, row by row"));
  CHECK(has_line_with(fixed, "meta.eval.tasks: has no effect, because all of these tasks"));
  const auto drawn = warnings({"meta.batch=4", "meta.eval.tasks=50"});
  CHECK_FALSE(has_line_with(drawn, "meta.batch"));
  CHECK_FALSE(has_line_with(drawn, "meta.eval.tasks"));
}
