#include "config/load.h"

#include <doctest/doctest.h>

#include <limits>

#include "config_texts.h"

using namespace mixflow;

TEST_CASE("the least configuration loads with every default of config.h") {
  const Config config = parse_config(kLeast, "c.yaml");
  Config expected;
  expected.meta.parameters = {MetaParameter{}};
  expected.meta.eval.steps = {0, 1};
  expected.inner.optimizer.eps_root = 1e-7;  // in f32
  CHECK(same_settings(config, expected));
  CHECK(config.file == "c.yaml");
  CHECK(config.warnings.empty());
}

TEST_CASE("every kind of value reaches its field") {
  const Config config = parse_config(R"(
name: one-2.a
seed: 7
precision: f64
threads: 2
data: {kind: sinusoid, shots: 3, queries: 1e1, amplitude: [1, 2.5], frequency: [.8, 1.2]}
model: {kind: mlp, hidden: [40, 20], activation: gelu, bias: false, init: he}
inner: {steps: 5, l2: 1e-3, optimizer: {kind: nesterov, lr: +0.5, momentum: 0}}
meta:
  parameters:
    - {kind: lr, granularity: per_step, transform: softplus, bounds: [-.inf, 3], init: 2}
    - {kind: l2, granularity: per_tensor}
  optimizer: {kind: rmsprop}
  schedule: {kind: cosine, warmup: 10, final_fraction: 0.1}
  eval: {steps: [0, 9]}
gradient: {mode: reverse, remat: {block: False}}
)",
                                     "c.yaml");
  CHECK(config.name == "one-2.a");
  CHECK(config.seed == 7);
  CHECK(config.precision == Precision::f64);
  const auto& data = std::get<SinusoidData>(config.data.source);
  CHECK(data.shots == 3);
  CHECK(data.queries == 10);
  CHECK(data.amplitude == Range{1, 2.5});
  CHECK(data.frequency == Range{0.8, 1.2});
  CHECK(config.model == ModelConfig(MlpModel{{40, 20}, Activation::gelu, false, Init::he}));
  CHECK(config.inner.l2 == 1e-3);
  CHECK(config.inner.optimizer.kind == OptimizerKind::nesterov);
  CHECK(config.inner.optimizer.lr == 0.5);
  CHECK(config.inner.optimizer.momentum == 0);
  REQUIRE(config.meta.parameters.size() == 2);
  const MetaParameter& lr = config.meta.parameters[0];
  CHECK(lr.granularity == Granularity::per_step);
  CHECK(lr.transform == Transform::softplus);
  CHECK(lr.bounds == Range{-std::numeric_limits<double>::infinity(), 3});
  CHECK(lr.init == 2);
  CHECK(config.meta.parameters[1].kind == MetaKind::l2);
  CHECK(config.meta.optimizer.lr == 1e-3);
  CHECK(config.meta.optimizer.beta2 == 0.9);  // rmsprop's own default
  CHECK(config.meta.schedule.final_fraction == 0.1);
  CHECK(config.meta.eval.steps == std::vector<std::int64_t>{0, 9});
  CHECK(config.gradient.mode == Mode::reverse);
  CHECK_FALSE(config.gradient.remat.block);
  CHECK(config.gradient.remat.step);
}

TEST_CASE("digits and mnist are tabular over their own files, scaled") {
  for (const std::string kind : {"digits", "mnist"}) {
    const Config config = parse_config("data: {kind: " + kind +
                                           "}\nmodel: {kind: mlp}\n"
                                           "inner: {loss: cross_entropy}\n"
                                           "meta: {parameters: [{kind: lr}]}\n",
                                       "c.yaml");
    const auto& data = std::get<TabularData>(config.data.source);
    CHECK(config.data.kind == kind);
    CHECK(data.x == "data/" + kind + "_x.npy");
    CHECK(data.y == "data/" + kind + "_y.npy");
    CHECK(data.normalize == "unit");
    CHECK(data.target == Target::classification);
  }
}

TEST_CASE("a learned l2 term may take its start from the meta-parameter") {
  const Config config = parse_config(
      "data: {kind: sinusoid}\nmodel: {kind: mlp}\nmeta: {parameters: [{kind: l2, init: 0.5}]}\n",
      "c.yaml");
  CHECK(config.inner.l2 == 0.5);
}

TEST_CASE("a preset sets what blocks keep, but not where the policy says it") {
  const auto policy = [](const std::string& gradient) {
    const Config config = parse_config(
        "data: {kind: random_tokens, sequence: 8, batch: 2}\n"
        "model: {kind: transformer, vocab: 11, d_model: 4, ffw: 4, heads: 1, kv_size: 2, layers: "
        "1}\n"
        "meta: {parameters: [{kind: init}]}\n"
        "gradient: " +
            gradient + "\n",
        "c.yaml");
    return config.gradient.remat.policy;
  };
  using enum BlockKeep;
  CHECK(policy("{}") == RematPolicy{by_block, by_block});
  CHECK(policy("{preset: smallest}") == RematPolicy{inputs, inputs});
  CHECK(policy("{preset: balanced}") == RematPolicy{dots, dots});
  CHECK(policy("{preset: fastest}") == RematPolicy{dots, dots, -1});
  CHECK(policy("{remat: {policy: {reuse: 2}}}") == RematPolicy{by_block, by_block, 2});
  CHECK(policy("{preset: fastest, remat: {policy: {second_order: all}}}") ==
        RematPolicy{dots, all, -1});
  // What is written out counts, even if it is the default.
  CHECK(policy("{preset: fastest, remat: {policy: {gradients: by_block}}}") ==
        RematPolicy{by_block, dots, -1});
  CHECK(policy("{preset: fastest, remat: {policy: {reuse: 0}}}") == RematPolicy{dots, dots});
  CHECK(policy("{preset: balanced, remat: {policy: {gradients: dots, second_order: dots}}}") ==
        RematPolicy{dots, dots});
}

TEST_CASE("anchors, aliases and merge keys stand for what they name") {
  const Config config = parse_config(
      "inner: {optimizer: &adam {kind: adam, beta1: 0.8}}\n"
      "data: {kind: sinusoid}\nmodel: {kind: mlp}\n"
      "meta:\n  parameters: [{kind: init}]\n  optimizer: {lr: 0.5, <<: *adam, beta1: 0.7}\n",
      "c.yaml");
  CHECK(config.inner.optimizer.beta1 == 0.8);
  CHECK(config.meta.optimizer.kind == OptimizerKind::adam);
  CHECK(config.meta.optimizer.lr == 0.5);
  CHECK(config.meta.optimizer.beta1 == 0.7);  // what is written wins over what is merged
}

TEST_CASE("an empty section means its defaults, and files from Windows load") {
  CHECK(same_settings(parse_config(kLeast + "gradient:\ninner:\n", "c.yaml"),
                      parse_config(kLeast, "c.yaml")));
  std::string windows = "\xEF\xBB\xBF";
  for (const char c : kLeast) windows += c == '\n' ? std::string("\r\n") : std::string(1, c);
  CHECK(same_settings(parse_config(windows, "c.yaml"), parse_config(kLeast, "c.yaml")));
}

TEST_CASE("data paths refer to the current directory, else to the directory of the file") {
  const auto folder = std::filesystem::temp_directory_path() / "mixflow_load_test";
  std::filesystem::create_directories(folder / "sets");
  std::ofstream(folder / "sets/beside.npz") << "x";
  std::ofstream(folder / "c.yaml")
      << "data: {kind: episodes, x: 'sets/beside.npz:x', y: none.npy}\n"
         "model: {kind: mlp}\ninner: {loss: cross_entropy}\n"
         "meta: {parameters: [{kind: lr}]}\n";
  const Config config = load_config((folder / "c.yaml").string());
  const auto& data = std::get<EpisodesData>(config.data.source);
  CHECK(data.x == (folder / "sets/beside.npz:x").string());
  CHECK(data.y == "none.npy");  // found nowhere: as written, for the message
  const std::vector<std::string> here = {"data.x=" + (folder / "c.yaml").string()};
  const Config absolute = load_config((folder / "c.yaml").string(), here);
  CHECK(std::get<EpisodesData>(absolute.data.source).x == (folder / "c.yaml").string());
  std::filesystem::remove_all(folder);
}

TEST_CASE("origin tells where a key, or the section around it, was written") {
  const std::vector<std::string> overrides = {"inner.steps=3"};
  const Config config = parse_config(kLeast, "c.yaml", overrides);
  CHECK(origin(config, "data.kind") == "c.yaml:1:14: data.kind");
  CHECK(origin(config, "data.shots") == "c.yaml:1:7: data.shots");
  CHECK(origin(config, "meta.parameters[0].init") == "c.yaml:3:21: meta.parameters[0].init");
  CHECK(origin(config, "gradient.mode") == "c.yaml:1:1: gradient.mode");
  CHECK(origin(config, "inner.steps") == "-s inner.steps=3: inner.steps");
  CHECK(origin(Config{}, "inner.steps") == "inner.steps");
}

TEST_CASE("finite differences in f32 load with a warning, in f64 without") {
  const Config f32 = parse_config(kLeast + "gradient: {mode: finite_difference}\n", "c.yaml");
  REQUIRE(f32.warnings.size() == 1);
  CHECK(f32.warnings[0] ==
        "c.yaml:4:18: gradient.mode: finite differences lose about half of the digits; set "
        "precision: f64");
  CHECK(parse_config(kLeast + "gradient: {mode: finite_difference}\nprecision: f64\n", "c.yaml")
            .warnings.empty());
}

TEST_CASE(
    "eps_root of the inner optimiser goes by precision, of the "
    "meta-optimiser not") {
  const auto loaded = [](const std::string& precision) {
    return parse_config(kLeast + "precision: " + precision + "\ninner: {optimizer: {kind: adam}}\n",
                        "c.yaml");
  };
  CHECK(loaded("f32").inner.optimizer.eps_root == 1e-7);
  CHECK(loaded("bf16").inner.optimizer.eps_root == 1e-6);
  CHECK(loaded("f64").inner.optimizer.eps_root == 1e-12);
  CHECK(loaded("bf16").meta.optimizer.eps_root == 1e-12);
  CHECK(dump_config(loaded("bf16")).find("eps_root: 1.0e-06") != std::string::npos);
  const std::vector<std::string> over{"precision=f64"};
  const std::string text = kLeast + "inner: {optimizer: {kind: adam, eps_root: 1e-3}}\n";
  CHECK(parse_config(text, "c.yaml", over).inner.optimizer.eps_root == 1e-3);
}

TEST_CASE("bf16 with a small eps_root loads with a warning") {
  const std::string text =
      kLeast + "precision: bf16\ninner: {optimizer: {kind: adam, eps_root: 1e-12";
  const Config config = parse_config(text + "}}\n", "c.yaml");
  CHECK(config.precision == Precision::bf16);
  REQUIRE(config.warnings.size() == 1);
  CHECK(config.warnings[0] ==
        "c.yaml:4:12: precision: bf16 with inner.optimizer.eps_root 1e-12 "
        "gives meta-gradients that "
        "are mostly rounding where inner gradients are near 0; remove it (its "
        "default in bf16 is "
        "1e-6), or raise it until mixflow check passes");
  CHECK(parse_config(text + ", stop_denominator: true}}\n", "c.yaml").warnings == config.warnings);
  CHECK(parse_config(text + "}}\ngradient: {mode: first_order}\n", "c.yaml").warnings.empty());
  CHECK(parse_config(kLeast + "precision: bf16\ninner: {optimizer: {kind: adam}}\n", "c.yaml")
            .warnings.empty());
  CHECK(parse_config(kLeast + "precision: bf16\n", "c.yaml").warnings.empty());
}

TEST_CASE(
    "an inner state that is carried across tasks loads with a warning, across one task's batches "
    "without") {
  const std::string rest = "inner: {steps: 2, reset_every: 0}\nmeta: {parameters: [{kind: lr}]}\n";
  const Config sinusoid =
      parse_config("data: {kind: sinusoid}\nmodel: {kind: mlp}\n" + rest, "c.yaml");
  CHECK(sinusoid.inner.reset_every == 0);
  REQUIRE(sinusoid.warnings.size() == 1);
  CHECK(sinusoid.warnings[0] ==
        "c.yaml:3:32: inner.reset_every: data.kind sinusoid draws new tasks in every meta-step, so "
        "the inner state is carried from one task to another");
  const Config tokens = parse_config(
      "data: {kind: random_tokens}\n"
      "model: {kind: transformer, d_model: 4, ffw: 4, heads: 1, kv_size: 2, layers: 1}\n" +
          rest,
      "c.yaml");
  CHECK(tokens.warnings.empty());
}

TEST_CASE("choices of rematerialisation that change nothing load with a warning") {
  const std::string rest =
      "inner: {steps: 2}\ndata: {kind: sinusoid}\nmodel: {kind: mlp}\nmeta: {parameters: [{kind: "
      "init}]}\ngradient: ";
  const auto warnings = [&](const std::string& gradient) {
    const Config config = parse_config(rest + gradient, "c.yaml");
    // The resolved config says the same, in other places.
    CHECK(parse_config(dump_config(config), "d.yaml").warnings.size() == config.warnings.size());
    return config.warnings;
  };
  CHECK(warnings("{preset: fastest, remat: {save_inner_grads: true}}").empty());
  CHECK(warnings("{remat: {step: false}}").empty());
  CHECK(warnings("{remat: {save_inner_grads: false}}").empty());
  const auto kept = warnings("{preset: fastest, remat: {step: false}}");
  REQUIRE(kept.size() == 1);
  CHECK(kept[0] ==
        "c.yaml:5:20: gradient.preset: has no effect, because gradient.remat.step is false: steps "
        "keep all that they compute");
  const auto saved = warnings("{remat: {step: false, save_inner_grads: false}}");
  REQUIRE(saved.size() == 1);
  CHECK(saved[0] ==
        "c.yaml:5:51: gradient.remat.save_inner_grads: has no effect, because gradient.remat.step "
        "is false: steps keep all that they compute");
  // The first of two steps still keeps its inner gradient, or not.
  CHECK(warnings("{remat: {save_inner_grads: false, policy: {reuse: 1}}}").empty());
  CHECK(warnings("{remat: {save_inner_grads: false, policy: {reuse: 2}}}").size() == 1);
  CHECK(warnings("{remat: {save_inner_grads: false, policy: {reuse: -1}}}").size() == 1);
  const auto unused = warnings("{mode: first_order, preset: fastest}");
  REQUIRE(unused.size() == 1);
  CHECK(unused[0] ==
        "c.yaml:5:39: gradient.preset: has no effect, because gradient.mode is first_order, which "
        "differentiates no gradient");
}
