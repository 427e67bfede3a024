#include <doctest/doctest.h>

#include <sstream>

#include "config_texts.h"

using namespace mixflow;

namespace {

void check_round_trip(const Config& config) {
  const std::string text = dump_config(config);
  CAPTURE(text);
  const Config again = parse_config(text, config.file);
  CHECK(same_settings(config, again));
  CHECK(dump_config(again) == text);
}

}  // namespace

TEST_CASE("every shipped configuration loads, and its dump loads as the same configuration") {
  const auto paths = shipped_configs();
  CHECK(paths.size() >= 11);
  for (const auto& path : paths) {
    CAPTURE(path);
    const Config config = load_config(path.string());
    CHECK(config.warnings.empty());
    check_round_trip(config);
  }
}

TEST_CASE("every shipped configuration opens with a comment on what it shows") {
  for (const auto& path : shipped_configs()) CHECK(read_text(path).starts_with("# "));
}

TEST_CASE("configurations far from the defaults survive the round trip") {
  const std::string model = "model: {kind: mlp, hidden: [3], activation: silu, init: zero}\n";
  const std::string learn = "meta: {parameters: [{kind: lr}]}\n";
  const std::string texts[] = {
      "data: {kind: tabular, x: 'a b:c.csv', target_column: 'true', target: regression, "
      "normalize: standard, validation: 0.3, test: 0, split: ordered, batch: 7, outer_batch: 9}\n" +
          model + learn,
      "data: {kind: tabular, x: \"caf\xc3\xa9 \\\"1\\\".npy\", y: '0x10', validation: 0.1}\n"
      "inner: {loss: bce, l2: 1e-300}\n" +
          model + learn,
      "data: {kind: tabular, x: a.tsv.gz, target_column: -1, columns: [a, 3, '-2'], ignore: 'b c', "
      "separator: tab, decimal: comma, header: true, missing: mean, validation_x: v.tsv, "
      "test_x: t.tsv, target: regression}\n" +
          model + learn,
      "data: {kind: text, path: [a, 'b*.txt'], validation_path: v.txt, test: 0, sequence: 8}\n"
      "model: {kind: transformer, size: 44M}\n" + learn,
      "data: {kind: mnist, x: other.npy, normalize: none}\ninner: {loss: cross_entropy, steps: 3}\n" + model +
          "meta: {parameters: [{kind: lr, granularity: per_step}]}\n",
      "data: {kind: episodes, x: a.npz:x, y: a.npz:y, ways: 2, train_classes: [4, 7], "
      "validation_classes: [1, 2], test_classes: [3, 5]}\ninner: {loss: bce}\n" +
          model + learn,
      "data: {kind: sinusoid, phase: [0.1, 0.30000000000000004]}\n" + model +
          "inner: {steps: 9, window: 4, reset_every: 3, optimizer: {kind: rmsprop, beta2: 0.5, "
          "eps_root: 0}}\n"
          "meta: {parameters: [{kind: beta2, transform: sigmoid, bounds: [-.inf, 2.5]}, {kind: lr, "
          "granularity: per_tensor, init: 1}], optimizer: {kind: adamw, weight_decay: 0.1}, "
          "schedule: {kind: step, every: 3, factor: 1}, clip_norm: 0.1, batch: 6}\n"
          "gradient: {mode: first_order, chunk: 3, remat: {save_inner_grads: false}}\n",
      "data: {kind: random_tokens, sequence: 8, batch: 2}\n"
      "model: {kind: transformer, vocab: 11, d_model: 4, ffw: 4, heads: 1, kv_size: 2, layers: "
      "1}\n" +
          learn + "inner: {optimizer: {kind: adamw, stop_denominator: true}}\n" +
          "gradient: {preset: balanced, remat: {policy: {second_order: all, reuse: 2}}}\n",
  };
  for (const std::string& text : texts) check_round_trip(parse_config(text, "c.yaml"));
}

TEST_CASE("a dump writes every default out and nothing that does not apply") {
  const std::string text = dump_config(parse_config(kLeast, "c.yaml"));
  std::istringstream expected(R"(name: run
seed: 1
precision: f32
threads: 0
data:
  kind: sinusoid
  shots: 10
  queries: 10
  amplitude: [0.1, 5]
  phase: [0, 3.141592653589793]
  frequency: [1, 1]
  x: [-5, 5]
model:
  kind: mlp
  hidden: []
  activation: relu
  bias: true
  init: fan_in
inner:
  loss: mse
  steps: 1
  window: 0
  reset_every: 1
  l2: null
  optimizer:
    kind: sgd
    lr: 0.01
meta:
  parameters:
    - kind: init
      bounds: null
  optimizer:
    kind: adam
    lr: 0.001
    beta1: 0.9
    beta2: 0.999
    eps: 1.0e-08
    eps_root: 1.0e-12
  schedule:
    kind: constant
    warmup: 0
  clip_norm: 0
  batch: 1
  steps: 1000
  eval:
    every: 0
    tasks: 0
    steps: [0, 1]
  early_stop:
    patience: 0
  checkpoint_every: 1000
  checkpoint_minutes: 5
gradient:
  mode: mixed
  preset: none
  remat:
    step: true
    block: true
    save_inner_grads: true
    inline: true
    policy:
      gradients: by_block
      second_order: by_block
      reuse: 0
  blocks:
    attention: 0
    feed_forward: 0
    cross_entropy: 0
  chunk: 0
  finite_difference_eps: 1.0e-05
  bf16_check: auto
)");
  std::istringstream actual(text);
  std::string line, wanted;
  while (std::getline(expected, wanted)) {
    REQUIRE(std::getline(actual, line));
    CHECK(line == wanted);
  }
  CHECK_FALSE(std::getline(actual, line));
}
