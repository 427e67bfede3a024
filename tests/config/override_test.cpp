#include <doctest/doctest.h>

#include <utility>

#include "config_texts.h"

using namespace mixflow;

namespace {

Config with(const std::vector<std::string>& overrides) {
  return parse_config(kLeast, "c.yaml", overrides);
}

std::vector<int> hidden(const Config& config) { return std::get<MlpModel>(config.model).hidden; }

}  // namespace

TEST_CASE("overrides set what is there and what is not, the last one counts") {
  CHECK(with({"data.shots=3"}).data == with({"data.shots=9", "data.shots=3"}).data);
  CHECK(with({"inner.optimizer.lr=0.5"}).inner.optimizer.lr == 0.5);
  CHECK(with({"seed=5"}).seed == 5);
  CHECK(hidden(with({"model.hidden=[64, 32]"})) == std::vector<int>{64, 32});
  CHECK(with({"gradient.remat={step: false}"}).gradient.remat.step == false);
  CHECK(with({"name=a"}).name == "a");
  CHECK(with({"inner.l2=1", "inner.l2=null"}).inner.l2 == std::nullopt);
  CHECK(with({"inner.l2=1", "inner.l2="}).inner.l2 == std::nullopt);
}

TEST_CASE("overrides reach into lists by number") {
  const std::vector<std::string> list = {"meta.parameters=[{kind: init}, {kind: lr}]"};
  for (const std::string path : {"meta.parameters.1.init", "meta.parameters[1].init"}) {
    auto overrides = list;
    overrides.push_back(path + "=0.25");
    CHECK(with(overrides).meta.parameters[1].init == 0.25);
  }
  CHECK(hidden(with({"model.hidden=[8, 8]", "model.hidden.1=4"})) == std::vector<int>{8, 4});
}

TEST_CASE("an override of an aliased section leaves the other alone") {
  const std::string text = kLeast + "inner: {optimizer: &o {kind: adam, lr: 0.1}}\n";
  const std::vector<std::string> overrides = {"inner.optimizer.lr=0.2"};
  const Config config = parse_config(
      "inner: {optimizer: &o {kind: adam, lr: 0.1}}\ndata: {kind: sinusoid}\nmodel: {kind: mlp}\n"
      "meta: {parameters: [{kind: init}], optimizer: *o}\n",
      "c.yaml", overrides);
  CHECK(config.inner.optimizer.lr == 0.2);
  CHECK(config.meta.optimizer.lr == 0.1);
}

TEST_CASE("errors in overrides name the override") {
  const std::pair<std::string, std::string> cases[] = {
      {"inner.lr=0.1", "-s inner.lr=0.1: inner.lr: unknown key, did you mean inner.optimizer.lr?"},
      {"inner.optimizer.lr=fast",
       "-s inner.optimizer.lr=fast: inner.optimizer.lr: expected a number > 0, got \"fast\" "
       "(learning rate; default 0.01)"},
      {"inner.steps", "-s inner.steps: expected key.path=value, such as -s inner.steps=5"},
      {"=5", "-s =5: expected key.path=value, such as -s inner.steps=5"},
      {"inner..steps=5", "-s inner..steps=5: expected key.path=value, such as -s inner.steps=5"},
      {"", "-s : expected key.path=value, such as -s inner.steps=5"},
      {"model.hidden=[8",
       "-s model.hidden=[8: model.hidden: the \"[\" here is not closed; add \"]\" or the missing "
       "comma"},
      {"data.kind.x=5",
       "-s data.kind.x=5: data.kind: holds \"sinusoid\" and has no keys; set it whole or mend the "
       "path"},
      {"meta.parameters.3.kind=lr",
       "-s meta.parameters.3.kind=lr: meta.parameters: is a list of 1; name an item by its number, "
       "from 0, or set the whole list"},
      {"meta.parameters.kind=lr",
       "-s meta.parameters.kind=lr: meta.parameters: is a list of 1; name an item by its number, "
       "from 0, or set the whole list"},
      {"inner.window=9",
       "-s inner.window=9: inner.window: a window of 9 is longer than the unroll, inner.steps 1; "
       "shorten it, or 0 for all steps"},
      {"meta.schedule.every=9",
       "-s meta.schedule.every=9: meta.schedule.every: does not apply to kind constant, only to "
       "step; remove it or change the kind"},
      {"name=caf\xe9", "-s name=caf\xe9: name: not UTF-8 text; save the file as UTF-8"},
  };
  for (const auto& [override_text, expected] : cases) {
    CHECK(load_error(kLeast, {override_text}) == expected);
  }
}

TEST_CASE("a section after one of its keys is an error; of one key twice, the last counts") {
  CHECK(load_error(kLeast, {"inner.optimizer.lr=0.1", "inner.optimizer={kind: adam}"}) ==
        "-s inner.optimizer={kind: adam}: inner.optimizer: sets the whole section and would drop "
        "inner.optimizer.lr, set before by -s inner.optimizer.lr=0.1; give the section first, then "
        "its keys");
  const std::vector<std::string> first{"inner.optimizer={kind: adam}", "inner.optimizer.lr=0.1"};
  const Config config = parse_config(kLeast, "c.yaml", first);
  CHECK(config.inner.optimizer.kind == OptimizerKind::adam);
  CHECK(config.inner.optimizer.lr == 0.1);
  CHECK(config.warnings.empty());
  const std::vector<std::string> twice{"inner.steps=3", "inner.steps=5"};
  const Config last = parse_config(kLeast, "c.yaml", twice);
  CHECK(last.inner.steps == 5);
  REQUIRE(last.warnings.size() == 1);
  CHECK(last.warnings[0] == "-s inner.steps=3: has no effect, because -s inner.steps=5 follows");
}

TEST_CASE("a key of another kind names the override that chose the kind") {
  const std::string text = kLeast + "inner: {optimizer: {kind: momentum, momentum: 0.5}}\n";
  CHECK(load_error(text, {"inner.optimizer.kind=sgd"}) ==
        "c.yaml:4:37: inner.optimizer.momentum: does not apply to kind sgd, only to momentum, "
        "nesterov; the kind is from -s inner.optimizer.kind=sgd: set the whole section there, "
        "inner.optimizer={kind: sgd, ..}");
}
