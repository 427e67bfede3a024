// Where theta_0 is no meta-parameter, nobody reads the cotangents of the first inner step's theta
// and optimiser state: the plan has no products for them.
#include <doctest/doctest.h>

#include "configs.h"
#include "ops/op_list.h"
#include "plan/lower.h"
#include "train/check.h"

using namespace mixflow;

namespace {

// Work of all products of one run of a planned body, and the kernels that it is made of.
struct Work {
  std::int64_t flop = 0, kernels = 0;
};

Work work_of(const Body& body) {
  Work work;
  const auto add = [&](std::int64_t times, const Body& iteration) {
    const Work inside = work_of(iteration);
    work.flop += times * inside.flop;
    work.kernels += inside.kernels;
  };
  for (const Instr& instr : body.instrs) {
    const Node& node = body.graph->nodes[static_cast<std::size_t>(instr.node)];
    if (instr.loop) {
      add(instr.loop->region->n - 1, *instr.loop->body);
      add(1, *instr.loop->last);
      continue;
    }
    ++work.kernels;
    if (node.op == &op::k_dot || node.op == &op::k_dot_sum)
      work.flop += cost_of(*body.graph, node).flop;
  }
  return work;
}

// Blocks recompute scores and skip keys: without them a plan has the products of the model.
const Settings kNoBlocks = {"gradient.remat={block: false}",
                            "gradient.blocks={attention: -1, feed_forward: -1, cross_entropy: -1}"};

Config with(const std::string& parameters, Settings settings) {
  settings.insert(settings.begin(), "meta.parameters=[" + parameters + "]");
  return transformer_config(settings);
}

Work planned_work(const Built& built) {
  const Stage& stage = built.experiment.train;
  return work_of(*compile(stage.graph, donations_of(stage), {})->body);
}

Work planned_work(const std::string& parameters, const Settings& settings) {
  return planned_work(Built(with(parameters, settings)));
}

}  // namespace

TEST_CASE("a plan whose blocks keep everything has the products of the model and no others" *
          doctest::skip(!kThorough)) {
  for (const std::string& parameters :
       {std::string("{kind: init}"), kRatesPerWeight, kScorer, "{kind: init}, " + kScorer}) {
    for (const std::string inner : {"{steps: 1}", "{steps: 2}", "{steps: 5}",
                                    "{steps: 5, window: 1}", "{steps: 5, window: 3}"}) {
      const bool learned = parameters.find("init") != std::string::npos;
      if (learned && inner.find("window") != std::string::npos) continue;
      CAPTURE(parameters);
      CAPTURE(inner);
      Settings settings = kNoBlocks;
      settings.push_back("inner=" + inner);
      const Built built(with(parameters, settings));
      CHECK(planned_work(built).flop == built.experiment.model_flop);
    }
  }
}

TEST_CASE("steps that keep what their gradients computed have fewer products than the model") {
  const auto flop = [](const std::string& remat) {
    Settings settings = kNoBlocks;
    settings[0] = "gradient.remat=" + remat;
    return planned_work("{kind: init}", settings).flop;
  };
  const std::int64_t model = flop("{block: false}");
  const std::int64_t kept = flop("{step: false, block: false}");
  CHECK(kept < model);
  CHECK(flop("{policy: {gradients: dots, second_order: dots, reuse: -1}}") == kept);
  // Blocks that keep nothing leave their steps less to keep.
  CHECK(flop("{policy: {gradients: inputs, second_order: inputs, reuse: -1}}") > kept);
}

TEST_CASE("steps keep the cotangent behind an output layer of many classes, if it is small") {
  // d 4 and 6 tokens in an inner batch; two steps, two tasks.
  const auto saved = [](const Settings& settings) {
    Settings all = kNoBlocks;
    all.insert(all.end(), settings.begin(), settings.end());
    const Built built(with("{kind: init}", all));
    return built.experiment.model_flop - planned_work(built).flop;
  };
  const std::int64_t product = 2 * 6 * 4 * 1024, in_all = 2 * 2 * product;
  CHECK(saved({"model.vocab=1024"}) == in_all);
  CHECK(saved({"model.vocab=1023"}) == 0);
  // 8,500 weights, and 600 numbers enter the layer: more than a sixteenth.
  CHECK(saved({"model.vocab=1024", "data.batch=50"}) == 0);
  CHECK(saved({"model.vocab=1024", "gradient.remat={block: false, save_inner_grads: false}"}) <= 0);
  if (!kThorough) return;
  const CheckReport report = check(transformer_config({"model.vocab=1024"}));
  for (const CheckLine& line : report.lines) {
    CAPTURE(line.what);
    CHECK(line.error <= line.tolerance);
  }
}

TEST_CASE("one step with learned rates has no second-order pass, in any mode and remat choice" *
          doctest::skip(!kThorough)) {
  for (Settings settings : remat_choices()) {
    CAPTURE(settings[0] + " " + settings[1]);
    settings.push_back("inner.steps=1");
    Settings first_order = settings;
    first_order[0] = "gradient.mode=first_order";
    CHECK(planned_work(kRatesPerWeight, settings).flop ==
          planned_work(kRatesPerWeight, first_order).flop);
    // Loss weights need the derivative of L's gradient by the weights, but not by theta.
    CHECK(planned_work(kScorer, settings).flop <
          planned_work("{kind: init}, " + kScorer, settings).flop);
  }
}

TEST_CASE("a carried inner state and a window end derivatives as a constant theta_0 does") {
  const auto flop = [](const std::string& inner) {
    Settings settings = kNoBlocks;
    settings.push_back("inner=" + inner);
    return planned_work(kRatesPerWeight, settings).flop;
  };
  CHECK(flop("{steps: 3, reset_every: 0}") == flop("{steps: 3}"));
  CHECK(flop("{steps: 3, window: 1}") - flop("{steps: 2, window: 1}") ==
        flop("{steps: 3, window: 2}") - flop("{steps: 2, window: 2}"));
  CHECK(flop("{steps: 4, window: 2}") ==
        flop("{steps: 2}") + 2 * (flop("{steps: 2, window: 1}") - flop("{steps: 1}")));
}

TEST_CASE("a plan has as many kernels for every unroll length from two steps on") {
  for (const std::string& parameters : {kRatesPerWeight, kScorer}) {
    for (const std::string mode : {"mixed", "reverse"}) {
      if (!kThorough && (parameters != kScorer || mode != "mixed")) continue;
      CAPTURE(parameters);
      CAPTURE(mode);
      const auto kernels = [&](const std::string& steps) {
        return planned_work(parameters, {"gradient.mode=" + mode, "inner.steps=" + steps}).kernels;
      };
      const std::int64_t two = kernels("2");
      CHECK(kernels("1") < two);
      CHECK(kernels("3") == two);
      CHECK(kernels("1000") == two);
    }
  }
}

TEST_CASE("without a learned theta_0 all modes agree, and with central differences" *
          doctest::skip(!kThorough)) {
  for (const std::string& parameters : {kRatesPerWeight, kScorer}) {
    for (const std::string inner : {"{steps: 1}", "{steps: 2}", "{steps: 3}",
                                    "{steps: 3, window: 1}", "{steps: 3, window: 2}"}) {
      CAPTURE(parameters);
      CAPTURE(inner);
      const CheckReport report =
          check(with(parameters, {"inner=" + inner, "meta.batch=1",
                                  "inner.optimizer={kind: adam, eps_root: 1e-6}"}));
      for (const CheckLine& line : report.lines) {
        CAPTURE(line.what);
        CHECK(line.error <= line.tolerance);
      }
    }
  }
}
