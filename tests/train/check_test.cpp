// `mixflow check` on whole configs.
#include "train/check.h"

#include <doctest/doctest.h>

#include <set>

#include "../util/testing.h"
#include "configs.h"
#include "graph/print.h"
#include "util/error.h"

using namespace mixflow;

// A tiny step past a ReLU's kink changes the inner gradient, and so the objective, by a jump: in a
// batch of 25 tasks some kink is nearer than the steps that rounding allows for the batch as a
// whole.
TEST_CASE("central differences agree with the meta-gradient beside the kinks of ReLUs") {
  const std::filesystem::path configs = std::filesystem::path(MIXFLOW_SOURCE_DIR) / "configs";
  for (const std::string name : {"published/maml_sine_k5.yaml", "published/meta_sgd_sine.yaml"}) {
    CAPTURE(name);
    const CheckReport report = check(load_config(configs / name));
    for (const CheckLine& line : report.lines) {
      CAPTURE(line.what);
      CHECK(line.error <= line.tolerance);
    }
    CHECK(report.ok());
  }
}

TEST_CASE("a derivative that is 0 by construction is refused by name and not compared") {
  // Adam's first step does not depend on its decays: what would be computed is rounding alone.
  for (const std::string parameters :
       {"[{kind: beta1}]", "[{kind: beta1}, {kind: beta2, granularity: per_tensor}]",
        "[{kind: beta2, transform: sigmoid}]"}) {
    CAPTURE(parameters);
    Config config = small_config({"meta.parameters=" + parameters,
                                  "inner.optimizer={kind: adam, lr: 0.01}", "inner.steps=2"});
    config.inner.steps = 1;
    CHECK(message_of<UserError>([&] { check(config); }).find("makes the first step of adam") !=
          std::string::npos);
  }
}

namespace {

const Settings kAllThree = {
    "meta.parameters=[{kind: init}, " + kRatesPerWeight + ", " + kScorer + "]", "meta.batch=1",
    "inner.optimizer={kind: adam, eps_root: 1e-6}"};  // f32 resolves no less near g = 0

std::string meta_gradient_text(const std::string& mode, bool step, bool block, bool save) {
  const auto truth = [](bool on) { return on ? "true" : "false"; };
  Settings settings = kAllThree;
  settings.push_back("gradient.mode=" + mode);
  settings.push_back(std::string("gradient.remat={step: ") + truth(step) +
                     ", block: " + truth(block) + ", save_inner_grads: " + truth(save) + "}");
  const Built built(transformer_config(settings));
  return to_text(*built.experiment.grad.graph);
}

}  // namespace

TEST_CASE("check compares a transformer's meta-gradient in every mode and remat choice") {
  const CheckReport report = check(transformer_config(kAllThree));
  std::vector<std::string> compared;
  for (const CheckLine& line : report.lines) {
    compared.push_back(line.what);
    CAPTURE(line.what);
    CAPTURE(line.worst);
    CHECK(line.error <= line.tolerance);
    if (line.what.starts_with("reverse")) CHECK(line.error > 0);  // other roundings, so not itself
  }
  CHECK(compared ==
        std::vector<std::string>{
            "mixed, remat.step on, block off, save_inner_grads on",
            "mixed, remat.step on, block on, save_inner_grads off",
            "mixed, remat.step on, block off, save_inner_grads off",
            "mixed, remat.step off, block on",
            "mixed, remat.step off, block off",
            "reverse, remat.step on, block on, save_inner_grads on",
            "reverse, remat.step on, block off, save_inner_grads on",
            "reverse, remat.step on, block on, save_inner_grads off",
            "reverse, remat.step on, block off, save_inner_grads off",
            "reverse, remat.step off, block on",
            "reverse, remat.step off, block off",
            "mixed, remat.step on, keep dots and dots, reuse",
            "mixed, remat.step on, keep dots and dots, reuse 1",
            "reverse, remat.step on, keep dots and dots, reuse",
            "reverse, remat.step on, keep dots and dots, reuse 1",
            "mixed, remat.step on, keep dots and dots, save_inner_grads on",
            "mixed, remat.step on, keep dots and inputs, save_inner_grads on",
            "mixed, remat.step on, keep inputs and dots, save_inner_grads on",
            "mixed, remat.step on, block on, save_inner_grads on, no blocks",
            "mixed, remat.step on, block on, save_inner_grads on, blocks of 12, 16 and 20",
            "reverse, remat.step on, keep dots and dots, save_inner_grads on",
            "reverse, remat.step on, block on, save_inner_grads on, no blocks",
            "reverse, remat.step on, block on, save_inner_grads on, blocks of 12, 16 and 20",
            "mixed, central differences",
            "mixed, fast f32 path"});
}

// So the twelve gradients that check compares are those of all sixteen switches.
TEST_CASE("twelve of the sixteen modes and remat choices have graphs of their own" *
          doctest::skip(!kThorough)) {
  std::set<std::string> texts;
  for (const std::string mode : {"mixed", "reverse"}) {
    for (const bool block : {true, false}) {
      CAPTURE(mode);
      CAPTURE(block);
      for (const bool save : {true, false})
        texts.insert(meta_gradient_text(mode, true, block, save));
      const std::string kept = meta_gradient_text(mode, false, block, true);
      CHECK(kept == meta_gradient_text(mode, false, block, false));
      texts.insert(kept);
    }
  }
  CHECK(texts.size() == 12);
}

TEST_CASE("check shows what rounding to bf16 does to each tensor's meta-gradient" *
          doctest::skip(!kThorough)) {
  // Wide enough for products that are rounded; float64 would take longer with more.
  const auto report_of = [](const std::string& eps_root) {
    return check(
        transformer_config({"data.sequence=24", "data.batch=2", "data.outer_batch=2",
                            "model.vocab=50", "model.d_model=48", "model.ffw=48", "model.layers=1",
                            "model.heads=1", "model.kv_size=48", "meta.batch=1", "precision=bf16",
                            "inner.optimizer={kind: adam, lr: 1e-3, eps_root: " + eps_root + "}"}));
  };
  const CheckReport report = report_of("1e-2");
  CHECK(report.ok());
  REQUIRE(report.bf16.size() == 11);
  for (const Bf16Error& error : report.bf16) {
    CAPTURE(error.tensor);
    CHECK(error.cosine > 0.99);
    CHECK(error.relative > 1e-4);  // it was rounded
    CHECK(error.relative < 0.1);
    CHECK(error.share <= 1);
  }
  CHECK(report.lines.back().what == "mixed, bf16: 1 - cosine");
  // Without the remedy rounding outweighs the gradient, and the check says so.
  const CheckReport ill = report_of("1e-8");
  CHECK_FALSE(ill.lines.back().ok());
}

TEST_CASE("with a stopped denominator check compares all but central differences, and says so") {
  const CheckReport report = check(small_config(
      {"inner.optimizer={kind: adam, eps_root: 1e-6, stop_denominator: true}", "inner.steps=3"}));
  CHECK(report.ok());
  bool reverse = false;
  for (const CheckLine& line : report.lines) {
    CHECK(line.what != "mixed, central differences");
    reverse = reverse || line.what.starts_with("reverse");
  }
  CHECK(reverse);
  REQUIRE(report.left_out.size() == 1);
  CHECK(report.left_out[0].what == "mixed, central differences");
  const std::string row =
      "  --   mixed, central differences: left out, they move the denominators, which "
      "inner.optimizer.stop_denominator holds constant\n";
  CHECK(to_text(report).find(row) != std::string::npos);
  CHECK(to_json(report).find("\"left_out\"") != std::string::npos);
  const CheckReport whole = check(small_config({"inner.optimizer={kind: adam, eps_root: 1e-6}"}));
  CHECK(whole.left_out.empty());
  CHECK(to_json(whole).find("left_out") == std::string::npos);
}

TEST_CASE("a meta-gradient that is not a number fails the check, whatever the other tensors say") {
  for (const std::string order : {"[{kind: lr}, {kind: init}]", "[{kind: init}, {kind: lr}]"}) {
    CAPTURE(order);
    // A rate so large that the inner loss overflows.
    const CheckReport report = check(small_config(
        {"meta.parameters=" + order, "inner.optimizer.lr=1e200", "model.activation=relu"}));
    CHECK_FALSE(report.ok());
    for (const CheckLine& line : report.lines) {
      CAPTURE(line.what);
      CHECK_FALSE(line.ok());
    }
  }
}
