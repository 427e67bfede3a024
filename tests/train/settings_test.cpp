// Every key of the schema acts: for each there is a config that sets it to something else than its
// default, and something that is different for it.
#include <doctest/doctest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "../data/bytes.h"
#include "config/idle.h"
#include "config/schema.h"
#include "config/values.h"
#include "configs.h"
#include "graph/print.h"
#include "train/bf16_check.h"
#include "train/idle_plan.h"
#include "train/schedule.h"
#include "train/trainer.h"
#include "util/error.h"
#include "util/file.h"
#include "util/text.h"
#include "witnesses.h"

using namespace mixflow;

namespace {

// Small data files of every kind.
struct Files : TemporaryDirectory {
  Files() {
    write_rows(*this / "points.npy", 60, 2);
    std::vector<float> other;
    for (int i = 0; i < 120; ++i) other.push_back(static_cast<float>(i * i % 11) - 5);
    write("other_points.npy", npy("<f4", "(60, 2)", raw(other)));
    write_labels(*this / "labels.npy", cyclic_labels(60, 3));
    write_labels(*this / "two_labels.npy", cyclic_labels(60, 2));
    write_labels(*this / "classes.npy", cyclic_labels(60, 10));
    std::vector<int> blocks, ordered;
    for (int i = 0; i < 60; ++i) {
      blocks.push_back(i / 20);
      ordered.push_back(i / 6);
    }
    write("other_labels.npy", npy("<i4", "(60,)", raw(blocks)));
    write("other_classes.npy", npy("<i4", "(60,)", raw(ordered)));
    std::string csv = "u,v,w\n";
    for (int i = 0; i < 30; ++i) {
      csv += number_text(0.5 * i) + "," + std::to_string(i % 2) + "," + std::to_string(i / 2 % 2) +
             "\n";
    }
    write("table.csv", csv);
    write("rows.csv", "u,v,w\n7,1,0\n-3,0,1\n8,1,1\n");
    std::string plain, holes = "u,v,w\n", marks, commas;
    for (int i = 0; i < 30; ++i) {
      const std::string number = std::to_string(i), bit = std::to_string(i % 2);
      plain += number + "," + bit + "," + bit + "\n";
      holes += (i % 5 == 0 ? "" : number) + "," + bit + "," + bit + "\n";
      marks += number + ",5;" + bit + "\n";  // two cells by either mark
      commas += number + ";" + (i % 2 == 0 ? "10,0" : "9,0") + "\n";
    }
    write("plain.csv", plain);
    write("holes.csv", holes);
    write("marks.csv", marks);
    write("commas.csv", commas);
    std::string text, ids, other_ids, wide;
    for (int i = 0; i < 400; ++i) {
      text += static_cast<char>('a' + i * i % 26);
      ids += raw(static_cast<std::uint16_t>(i * i % 200));
      other_ids += raw(static_cast<std::uint16_t>(i * 7 % 200));
      wide += raw(static_cast<std::uint16_t>(i * 40503));  // ids as one byte each, too
    }
    write("text.txt", text);
    write("ids.bin", ids);
    write("other_ids.bin", other_ids);
    write("wide.bin", wide);
  }
  void write(const std::string& name, const std::string& content) const {
    write_atomically(std::filesystem::path(*this / name), content);
  }
};

std::string base_config(const std::string& name) {
  const std::string mlp =
      "name: t\nthreads: 1\ngradient: {remat: {inline: false}}\n"
      "model: {kind: mlp, hidden: [4], activation: tanh}\n";
  const std::string meta =
      "meta: {parameters: [{kind: init}, {kind: lr}], batch: 2, steps: 4, eval: {tasks: 2}}\n";
  const std::string classes = "inner: {loss: cross_entropy, steps: 3}\n" + meta;
  if (name == "sinusoid") {
    return mlp + "data: {kind: sinusoid, shots: 3, queries: 3}\ninner: {steps: 3}\n" + meta;
  }
  if (name == "tabular")
    return mlp + "data: {kind: tabular, x: points.npy, y: labels.npy}\n" + classes;
  if (name == "csv")
    return mlp + "data: {kind: tabular, x: table.csv, target_column: w}\n" + classes;
  if (name == "digits" || name == "mnist") {
    return mlp + "data: {kind: " + name + ", x: points.npy, y: labels.npy}\n" + classes;
  }
  const std::string episodes =
      "data: {kind: episodes, x: points.npy, y: classes.npy, shots: 1, queries: 2, ";
  if (name == "episodes") {
    return mlp + episodes +
           "ways: 3, train_classes: [0, 1, 2], validation_classes: [3, 4, 5], test_classes: [6, 7, "
           "8]}\n" +
           classes;
  }
  if (name == "classes") {
    return mlp + episodes +
           "ways: 3, train_classes: [0, 1, 2], validation_classes: [3, 4, 5], test_classes: [9, 7, "
           "8]}\n" +
           classes;
  }
  const std::string transformer =
      "name: t\nthreads: 1\n"
      "model: {kind: transformer, vocab: 256, d_model: 4, ffw: 8, heads: 2, kv_size: 2, layers: "
      "2}\n"
      "gradient: {remat: {inline: false}}\ninner: {steps: 2}\n";
  if (name == "text")
    return transformer + "data: {kind: text, path: text.txt, sequence: 4, batch: 2}\n" + meta;
  if (name == "tokens")
    return transformer + "data: {kind: tokens, path: ids.bin, sequence: 4, batch: 2}\n" + meta;
  REQUIRE(name == "weights");
  return transformer +
         "data: {kind: random_tokens, sequence: 4, batch: 2}\n"
         "meta: {parameters: [{kind: loss_weights, model: {kind: transformer, d_model: 4, ffw: 8, "
         "heads: "
         "1, kv_size: 2, layers: 1}}], steps: 4, eval: {tasks: 2}}\n";
}

std::string bytes_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string plan_text(const Built& built) {
  const Config& config = built.experiment.config;
  const PlanOptions options = plan_options(config, config.threads);
  std::string text = std::to_string(options.threads);
  for (const Stage* stage : {&built.experiment.train, &built.experiment.eval}) {
    const ProgramPtr program = compile_stage(*stage, options);
    // What loops were to keep is no part of the plan where nothing asks for it, nor are the names
    // of the code that nodes come from.
    static const std::regex other("keep=[^,}]*|  # [^\\n]*");
    text += std::regex_replace(to_text(*program->graph), other, "") +
            std::to_string(program->dynamic_bytes) + "\n";
  }
  return text;
}

// Of the first training batch and the first test batch.
std::string data_text(const Built& built) {
  std::string text;
  const Config& config = built.experiment.config;
  for (const Split split : {Split::train, Split::validation, Split::test}) {
    const bool train = split == Split::train;
    const Stage& stage = train ? built.experiment.train : built.experiment.eval;
    StageRun run(stage, plan_options(config, config.threads));
    run.fill(*built.source, split, 1, config.precision);
    for (const Port& port : stage.inputs) {
      const bool data = port.role == Role::data_inner || port.role == Role::data_outer;
      if (data) text += bytes_of(run.input(port.name));
    }
  }
  return text;
}

std::string start_text(const Built& built) {
  std::string text;
  for (const InitialValue& value : built.experiment.initial) {
    text += value.name + " " + number_text(value.deviation) + " " + number_text(value.value) + "\n";
  }
  return text;
}

std::string rate_text(const Config& config) {
  std::string text;
  for (std::int64_t t = 1; t <= config.meta.steps; ++t) {
    text += number_text(scheduled_lr(config.meta.schedule, config.meta.optimizer.lr, t,
                                     config.meta.steps)) +
            "\n";
  }
  return text;
}

// What a training leaves, but for its config and for times: names of files, losses, evaluations.
std::string files_text(const Config& config) {
  const TemporaryDirectory place;
  const std::filesystem::path out = std::filesystem::path(place.path) / "run";
  train(config, {.out = out, .progress = false});
  std::string text;
  for (const char* file : {"metrics.jsonl", "eval.jsonl"}) {
    const std::string lines = read_text(out / file);
    for (const std::string_view line : split(lines, '\n')) {
      if (line.empty()) continue;
      const auto json = nlohmann::json::parse(line);
      for (const char* key : {"step", "split", "meta_loss", "loss"}) {
        if (json.contains(key)) text += std::string(key) + " " + json[key].dump() + "\n";
      }
    }
  }
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(out / "checkpoints")) {
    names.insert(entry.path().filename().string());
  }
  for (const std::string& name : names) text += name + "\n";
  const auto summary = nlohmann::json::parse(read_text(out / "summary.json"));
  text += summary.at("name").dump();
  return summary.contains("bf16_cosine") ? text + summary["bf16_cosine"].dump() : text;
}

std::string facts(const Config& config, Changes what) {
  switch (what) {
    case Changes::plan:
      return plan_text(Built(config));
    case Changes::data:
      return data_text(Built(config));
    case Changes::start:
      return start_text(Built(config));
    case Changes::rate:
      return rate_text(config);
    case Changes::files:
      return files_text(config);
  }
  return "";
}

std::string label(const SchemaRow& row) {
  return row.path + (row.key->kinds.empty() ? "" : " of " + std::string(row.key->kinds[0]));
}

Config parse_in(const Files& files, const std::string& base, const Settings& settings) {
  return parse_config(base_config(base), std::string(files / "c.yaml"), settings);
}

}  // namespace

TEST_CASE("every key of the schema has a witness, and no witness is of no key") {
  std::set<std::string> rows, told;
  for (const SchemaRow& row : schema_rows()) rows.insert(label(row));
  for (const Witness& witness : witnesses()) {
    CAPTURE(witness.row);
    CHECK(told.insert(witness.row).second);
    CHECK(rows.contains(witness.row));
  }
  for (const std::string& row : rows) {
    CAPTURE(row);
    CHECK(told.contains(row));  // else add a line to witnesses.h
  }
}

TEST_CASE("every key acts: set to another value, something is another than without it") {
  const Files files;
  std::map<std::string, std::string> known;
  std::size_t turn = 0;
  for (const Witness& witness : witnesses()) {
    CAPTURE(witness.row);
    CAPTURE(witness.set);
    if (!kThorough && ++turn % 5 != 0) continue;
    Settings without = witness.with, with = witness.with;
    std::string_view rest = witness.set;
    for (std::size_t end; (end = rest.find("; ")) != rest.npos; rest.remove_prefix(end + 2)) {
      with.emplace_back(rest.substr(0, end));
    }
    with.emplace_back(rest);
    const Config plain = parse_in(files, witness.base, without);
    const Config config = parse_in(files, witness.base, with);
    CHECK(idle_settings(config).empty());
    const auto what = static_cast<int>(witness.changes);
    std::string key = std::to_string(what) + dump_config(plain);
    if (!known.contains(key)) known[key] = facts(plain, witness.changes);
    CHECK((facts(config, witness.changes) != known[key]));
  }
}

TEST_CASE("what is told to have no effect has none on the plan") {
  const Files files;
  struct Idle {
    std::string base;
    Settings with;
    std::string set, path, reason;
  };
  const std::vector<Idle> cases = {
      {"sinusoid",
       {},
       "gradient.preset=balanced",
       "gradient.preset",
       "model.kind mlp has no blocks"},
      {"sinusoid",
       {"gradient.remat.step=false"},
       "gradient.preset=fastest",
       "gradient.preset",
       "gradient.remat.step is false: steps keep all that they compute"},
      {"sinusoid",
       {},
       "gradient.blocks.attention=4",
       "gradient.blocks.attention",
       "model.kind mlp has no blocks"},
      {"sinusoid",
       {},
       "gradient.blocks.feed_forward=4",
       "gradient.blocks.feed_forward",
       "model.kind mlp has no blocks"},
      {"sinusoid",
       {},
       "gradient.blocks.cross_entropy=-1",
       "gradient.blocks.cross_entropy",
       "model.kind mlp has no blocks"},
      {"sinusoid",
       {},
       "gradient.remat.block=false",
       "gradient.remat.block",
       "model.kind mlp has no blocks"},
      {"sinusoid",
       {},
       "gradient.remat.policy.gradients=dots",
       "gradient.remat.policy.gradients",
       "model.kind mlp has no blocks"},
      {"sinusoid",
       {},
       "gradient.remat.policy.second_order=all",
       "gradient.remat.policy.second_order",
       "model.kind mlp has no blocks"},
      {"text",
       {"gradient.mode=reverse"},
       "gradient.remat.policy.second_order=dots",
       "gradient.remat.policy.second_order",
       "gradient.mode is reverse, and only mixed differentiates gradients as they stand"},
      {"text",
       {"gradient.remat.policy={gradients: dots, second_order: inputs}"},
       "gradient.remat.block=false",
       "gradient.remat.block",
       "gradient.remat.policy says what blocks keep"},
      {"sinusoid",
       {"gradient.mode=first_order"},
       "gradient.remat.policy.reuse=-1",
       "gradient.remat.policy.reuse",
       "gradient.mode is first_order, which differentiates no gradient"},
      {"sinusoid",
       {"gradient.remat.step=false"},
       "gradient.remat.policy.reuse=1",
       "gradient.remat.policy.reuse",
       "gradient.remat.step is false: steps keep all that they compute"},
      {"sinusoid",
       {"inner.steps=1", "meta.parameters=[{kind: lr}]"},
       "gradient.remat.policy.reuse=1",
       "gradient.remat.policy.reuse",
       "the one step that is differentiated starts from constants, so that its gradient is not "
       "differentiated"},
      {"sinusoid",
       {"gradient.remat.step=false"},
       "gradient.remat.save_inner_grads=false",
       "gradient.remat.save_inner_grads",
       "gradient.remat.step is false: steps keep all that they compute"},
      {"sinusoid",
       {"gradient.remat.policy.reuse=-1"},
       "gradient.remat.save_inner_grads=false",
       "gradient.remat.save_inner_grads",
       "gradient.remat.policy.reuse is -1: steps keep more than their gradients"},
      {"sinusoid",
       {"gradient.mode=finite_difference"},
       "gradient.remat.step=false",
       "gradient.remat.step",
       "gradient.mode is finite_difference, which computes losses only"},
      {"sinusoid",
       {},
       "gradient.finite_difference_eps=1e-3",
       "gradient.finite_difference_eps",
       "gradient.mode is mixed"},
      {"sinusoid",
       {"meta.parameters=[{kind: lr}]"},
       "inner.window=3",
       "inner.window",
       "all of inner.steps 3 are in the window"},
      {"sinusoid",
       {"inner.optimizer.kind=adam", "gradient.mode=first_order"},
       "inner.optimizer.stop_denominator=true",
       "inner.optimizer.stop_denominator",
       "gradient.mode is first_order: inner gradients, and so the denominators, are constants "
       "anyway"},
      {"sinusoid",
       {"model={kind: mlp}"},
       "model.activation=gelu",
       "model.activation",
       "model.hidden is empty: a linear model has no activations"},
      {"sinusoid",
       {"meta.parameters=[{kind: lr, init: 0.5}]"},
       "inner.optimizer.lr=0.3",
       "inner.optimizer.lr",
       "lr is learned, and starts at meta.parameters[0].init 0.5"},
      {"sinusoid",
       {},
       "meta.parameters[1].bounds=[-.inf, .inf]",
       "meta.parameters[1].bounds",
       "every number lies between them"},
      {"sinusoid",
       {},
       "meta.eval.every=4",
       "meta.eval.every",
       "training ends after meta.steps 4, and is evaluated there in any case"},
      {"sinusoid",
       {},
       "meta.checkpoint_every=10",
       "meta.checkpoint_every",
       "training ends after meta.steps 4, and has a checkpoint there in any case"},
      {"sinusoid",
       {"meta.checkpoint_every=1"},
       "meta.checkpoint_minutes=1",
       "meta.checkpoint_minutes",
       "there is a checkpoint after every meta-step"},
      {"sinusoid",
       {"meta.schedule.kind=step"},
       "meta.schedule.every=4",
       "meta.schedule.every",
       "training ends after meta.steps 4, before the first reduction"},
      {"sinusoid",
       {},
       "meta.schedule.warmup=1",
       "meta.schedule.warmup",
       "the first meta-step has the whole rate already"},
  };
  for (const Idle& idle : cases) {
    CAPTURE(idle.set);
    Settings with = idle.with;
    with.push_back(idle.set);
    const Config config = parse_in(files, idle.base, with);
    const Config plain = parse_in(files, idle.base, idle.with);
    CHECK(std::ranges::find(config.warnings, "-s " + idle.set + ": " + idle.path +
                                                 ": has no effect, because " + idle.reason) !=
          config.warnings.end());
    CHECK((plan_text(Built(config)) == plan_text(Built(plain))));
    CHECK(rate_text(config) == rate_text(plain));
  }
}

TEST_CASE("what loops should keep has no effect where they become straight code") {
  const Files files;
  const auto idle = [&](const Settings& settings) {
    const Config config = parse_in(files, "sinusoid", settings);
    const std::unique_ptr<TaskSource> source = make_source(config);
    std::string text;
    for (const IdleSetting& setting : idle_in_plan(config, *source, 1)) {
      text += setting.path + ": " + setting.reason + "\n";
    }
    return text;
  };
  const std::string reason =
      "loops over few values become straight code here, "
      "which keeps what it needs; "
      "gradient.remat.inline: false keeps them loops\n";
  CHECK(idle({"gradient.remat.inline=true", "gradient.remat.step=false"}) ==
        "gradient.remat.step: " + reason);
  CHECK(idle({"gradient.remat.inline=true", "gradient.preset=fastest"}) ==
        "gradient.preset: " + reason);
  CHECK(idle({"gradient.remat.step=false"}) == "");
  CHECK(idle({"gradient.preset=fastest"}) == "");
  CHECK(idle({"inner.steps=20"}) ==
        "gradient.remat.inline: no loop of this config is short and small "
        "enough to become "
        "straight code\n");
}

TEST_CASE(
    "bf16 is compared with f32 before a training, and stops where they "
    "differ") {
  const auto config = [](const Settings& settings) {
    Settings all{"precision=bf16", "gradient.bf16_check=always",
                 "model={kind: transformer, vocab: 64, d_model: 64, ffw: 64, "
                 "heads: 2, kv_size: 32, "
                 "layers: 2}",
                 "data={kind: random_tokens, sequence: 32, batch: 4}"};
    all.insert(all.end(), settings.begin(), settings.end());
    return transformer_config(all);
  };
  const auto figure = [&](const Settings& settings) {
    const Config checked = config(settings);
    return check_bf16(checked, *make_source(checked), 1);
  };
  const std::string adam = "inner.optimizer={kind: adam, lr: 1e-3, eps_root: ";
  const auto good = figure({adam + "1e-2}"});
  REQUIRE(good.has_value());
  CHECK(good->cosine > kLeastBf16Cosine);
  CHECK(good->cosine < 1);
  CHECK(good->tensor.starts_with("eta.init."));
  CHECK_FALSE(figure({adam + "1e-12}", "gradient.bf16_check=never"}).has_value());
  CHECK_FALSE(figure({adam + "1e-12}", "gradient.bf16_check=auto"}).has_value());  // 10 meta-steps
  CHECK_FALSE(figure({"precision=f32"}).has_value());
  std::string message;
  const TemporaryDirectory place;
  const std::filesystem::path out = std::filesystem::path(place.path) / "run";
  try {
    train(config({adam + "1e-12}", "gradient.bf16_check=auto", "meta.steps=200"}),
          {.out = out, .progress = false});
  } catch (const RunError& error) {
    message = error.what();
  }
  CHECK(message.find("bf16 gives another meta-gradient than f32: that of eta.init.") !=
        std::string::npos);
  CHECK(message.find("Raise inner.optimizer.eps_root (1e-12 here") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE(
    "meta-parameters that the first meta-steps leave where they were are "
    "told") {
  const TemporaryDirectory place;
  const std::filesystem::path out = std::filesystem::path(place.path) / "run";
  // Units of a layer of zeros are dead: no gradient reaches the weights before
  // them.
  train(small_config({"model.hidden=[3]", "model.activation=relu", "model.init=zero",
                      "meta.parameters=[{kind: lr, granularity: per_tensor}]", "meta.steps=4"}),
        {.out = out, .progress = false});
  const std::string log = read_text(out / "log.txt");
  CHECK(log.find("eta.lr.layers.0.weight, eta.lr.layers.0.bias, "
                 "eta.lr.layers.1.weight did not move "
                 "in the first 4 meta-steps: the meta-gradient was 0 there") != std::string::npos);
}
