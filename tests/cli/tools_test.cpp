// plan, check, grad, graph and the schema through the binary.
#include "data/safetensors.h"
#include "process.h"

using namespace mixflow;

namespace {

const nlohmann::json& only_plan(const nlohmann::json& json) {
  REQUIRE(json.at("plans").size() == 1);
  return json.at("plans")[0];
}

}  // namespace

TEST_CASE("plan promises what a run needs, in every mode") {
  const TemporaryDirectory directory;
  for (const std::string mode : {"mixed", "reverse", "first_order"}) {
    CAPTURE(mode);
    const Args config = tiny(set({"gradient.mode=" + mode, "inner.steps=3"})) + Args{"--json"};
    const auto planned = json_of(mixflow::mixflow(Args{"plan"} + config, directory.path));
    const nlohmann::json& plan = only_plan(planned);
    const auto run =
        json_of(mixflow::mixflow(Args{"train", "--out", mode} + config, directory.path));
    CHECK(plan.at("mode") == mode);
    CHECK(run.at("mode") == mode);
    for (const char* key : {"static_bytes", "dynamic_bytes", "reverse_dynamic_bytes"})
      CHECK_MESSAGE(plan.at(key) == run.at(key), key);
    CHECK(plan.at("dynamic_bytes") == run.at("arena_peak_bytes"));
    if (mode == "reverse") CHECK(plan.at("dynamic_bytes") == plan.at("reverse_dynamic_bytes"));
    CHECK(plan.at("flop").get<double>() > 0);
    CHECK(plan.at("model_flop").get<double>() > 0);
    CHECK(plan.at("predicted_s").get<double>() > 0);
  }
}

TEST_CASE("what blocks recompute is work, but not the model's") {
  const TemporaryDirectory directory;
  const auto json = json_of(mixflow::mixflow(
      {"plan", shipped("text_maml.yaml"), "--over", "gradient.remat.block=true,false", "--json"},
      directory.path));
  const nlohmann::json& plans = json.at("plans");
  REQUIRE(plans.size() == 2);
  CHECK(plans[0].at("model_flop") == plans[1].at("model_flop"));
  CHECK(plans[0].at("flop").get<double>() > 1.1 * plans[1].at("flop").get<double>());
  const auto presets = json_of(mixflow::mixflow(
      {"plan", shipped("text_maml.yaml"), "--over", "gradient.preset=smallest,fastest", "--json"},
      directory.path));
  for (const nlohmann::json& plan : presets.at("plans"))
    CHECK(plan.at("model_flop") == plans[0].at("model_flop"));
}

TEST_CASE("mixed mode of a deep network needs less memory than reverse") {
  const TemporaryDirectory directory;
  const Args args = {
      "plan", shipped("quickstart.yaml"), "-s",    "meta.batch=1",
      "-s",   "data.shots=256",           "-s",    "model.hidden=[32, 32, 32, 32, 32, 32]",
      "-s",   "model.activation=tanh",    "--json"};
  const auto json = json_of(mixflow::mixflow(args, directory.path));
  const nlohmann::json& plan = only_plan(json);
  CHECK(plan.at("reverse_dynamic_bytes").get<double>() >
        1.1 * plan.at("dynamic_bytes").get<double>());
}

TEST_CASE("plan --explain lists what is alive at the peak, who made it and who reads it last") {
  const TemporaryDirectory directory;
  const Args args = Args{"plan", "--explain"} + tiny();
  const auto json = json_of(mixflow::mixflow(args + Args{"--json"}, directory.path));
  const nlohmann::json& plan = only_plan(json);
  REQUIRE(plan.at("peak").size() > 0);
  for (const nlohmann::json& live : plan.at("peak")) {
    CHECK(live.at("bytes").get<std::int64_t>() > 0);
    CHECK(live.at("offset").get<std::int64_t>() >= 0);
    for (const char* key : {"what", "made_by", "last_read_by"})
      CHECK_FALSE(live.at(key).get<std::string>().empty());
  }
  const Outcome text = mixflow::mixflow(args, directory.path);
  CHECK(text.code == 0);
  CHECK(has(text.out, "Alive at the peak of "));
  CHECK(has(text.out, " made by "));
  CHECK(has(text.out, ", last read by "));
}

TEST_CASE("plan takes several configs, and runs none of them") {
  const TemporaryDirectory directory;
  const Args configs = {shipped("quickstart.yaml"), shipped("sinusoid_maml_t5.yaml"),
                        shipped("sinusoid_per_step_lr.yaml")};
  const auto json =
      json_of(mixflow::mixflow(Args{"plan", "--json", "--threads", "1"} + configs, directory.path));
  REQUIRE(json.at("plans").size() == configs.size());
  for (std::size_t i = 0; i < configs.size(); ++i)
    CHECK(json.at("plans")[i].at("config") == configs[i]);
  CHECK(directory.entries() == 0);
  const Outcome text = mixflow::mixflow(Args{"plan"} + configs, directory.path);
  for (const std::string& config : configs) CHECK(has(text.out, config));
}

TEST_CASE(
    "check compares every exact mode, differences and the fast path, and passes the quickstart") {
  const TemporaryDirectory directory;
  const Args args = {"check", shipped("quickstart.yaml"), "-s", "meta.batch=4"};
  const Outcome outcome = mixflow::mixflow(args + Args{"--json"}, directory.path);
  CHECK(outcome.code == 0);
  const auto json = json_of(outcome);
  CHECK(json.at("ok") == true);
  Args compared;
  for (const nlohmann::json& line : json.at("checks")) {
    compared.push_back(line.at("what"));
    CHECK(line.at("ok") == true);
    CHECK(line.at("error").get<double>() <= line.at("tolerance").get<double>());
    // Rounding differs between the modes: errors of exactly zero everywhere would mean that
    // something was compared with itself.
    const std::string what = line.at("what");
    if (!what.starts_with("mixed, remat")) CHECK_MESSAGE(line.at("error").get<double>() > 0, what);
  }
  CHECK(compared == Args{"mixed, remat.step on, save_inner_grads off", "mixed, remat.step off",
                         "reverse, remat.step on, save_inner_grads on",
                         "reverse, remat.step on, save_inner_grads off", "reverse, remat.step off",
                         "mixed, remat.step on, reuse", "reverse, remat.step on, reuse",
                         "mixed, central differences", "mixed, fast f32 path"});
  const Outcome text = mixflow::mixflow(args, directory.path);
  CHECK(text.code == 0);
  CHECK(std::ranges::count(text.out, '\n') == 10);
}

TEST_CASE("grad reads what it wrote and computes the same bits, in f32 and f64") {
  const TemporaryDirectory directory;
  for (const std::string precision : {"f32", "f64"}) {
    CAPTURE(precision);
    const Args config = tiny(set({"precision=" + precision, "inner.steps=2"}));
    const Outcome first =
        mixflow::mixflow(Args{"grad", "--out", "a.safetensors", "--json"} + config, directory.path);
    CHECK(first.code == 0);
    const auto again = json_of(mixflow::mixflow(
        Args{"grad", "--in", "a.safetensors", "--out", "b.safetensors", "--json", "-s", "seed=7"} +
            config,
        directory.path));
    CHECK(again.at("drawn").empty());
    CHECK(again.at("outer_loss") == json_of(first).at("outer_loss"));
    CHECK(again.at("arena_peak_bytes") == again.at("dynamic_bytes"));
    CHECK(read_text(directory / "a.safetensors") == read_text(directory / "b.safetensors"));
    const TensorFile file = read_safetensors(directory / "a.safetensors");
    const StoredType type = precision == "f64" ? StoredType::f64 : StoredType::f32;
    for (const char* name :
         {"eta.init.layers.0.weight", "data.inner.x", "data.outer.y",
          "meta_grad.init.layers.0.weight", "theta_T.layers.1.bias", "inner_loss", "outer_loss"}) {
      REQUIRE_MESSAGE(file.find(name) != nullptr, name);
      CHECK(file.find(name)->type == type);
    }
    CHECK(file.find("inner_loss")->shape == Shape{4, 2});
    CHECK(file.find("data.inner.x")->shape == Shape{4, 1, 10, 1});
  }
}

TEST_CASE("grad draws what the input file lacks and says so") {
  const TemporaryDirectory directory;
  const Args config = tiny();
  CHECK(mixflow::mixflow(Args{"grad", "--out", "a.safetensors"} + config, directory.path).code ==
        0);
  TensorFile part;
  part.tensors.push_back(*read_safetensors(directory / "a.safetensors").find("data.inner.x"));
  write_safetensors(directory / "part.safetensors", part);
  const auto json = json_of(mixflow::mixflow(
      Args{"grad", "--in", "part.safetensors", "--json"} + config, directory.path));
  const auto drawn = json.at("drawn").get<Args>();
  CHECK(std::ranges::find(drawn, "data.inner.y") != drawn.end());
  CHECK(std::ranges::find(drawn, "data.inner.x") == drawn.end());
}

TEST_CASE("grad refuses tensors that do not fit, naming file and tensor, and writes nothing") {
  const TemporaryDirectory directory;
  const Args config = tiny();
  CHECK(mixflow::mixflow(Args{"grad", "--out", "a.safetensors"} + config, directory.path).code ==
        0);
  const TensorFile good = read_safetensors(directory / "a.safetensors");
  const auto refused = [&](auto change) {
    TensorFile file = good;
    for (NamedTensor& tensor : file.tensors)
      if (tensor.name == "data.inner.x") change(tensor);
    write_safetensors(directory / "bad.safetensors", file);
    const Outcome outcome = mixflow::mixflow(
        Args{"grad", "--in", "bad.safetensors", "--out", "none.safetensors"} + config,
        directory.path);
    CHECK(outcome.code == 2);
    CHECK(outcome.out == "");
    CHECK(std::ranges::count(outcome.err, '\n') == 1);
    CHECK_FALSE(std::filesystem::exists(directory / "none.safetensors"));
    return outcome.err;
  };
  CHECK(refused([](NamedTensor& t) {
          t.shape = {4, 10, 1, 1};
        }) ==
        "mixflow: bad.safetensors: data.inner.x: expected shape [4,1,10,1] from the config, got "
        "[4,10,1,1]; `mixflow grad CONFIG --out FILE` writes a file that fits\n");
  CHECK(refused([](NamedTensor& t) { t.name = "data.inner.z"; }) ==
        "mixflow: bad.safetensors: data.inner.z[4,1,10,1]: the config has no such input, expected "
        "data.inner.x[4,1,10,1]; `mixflow grad CONFIG --out FILE` writes a file that fits\n");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(refused([&](NamedTensor& t) {
          std::memcpy(t.data.data() + 13 * sizeof nan, &nan, sizeof nan);
        }) ==
        "mixflow: bad.safetensors: data.inner.x[1,0,3,0] is .nan, expected a finite number\n");
  const Outcome missing =
      mixflow::mixflow(Args{"grad", "--in", "nothing.safetensors"} + config, directory.path);
  CHECK(missing.code == 2);
  CHECK(missing.err == "mixflow: nothing.safetensors: no such file\n");
  const Outcome nowhere =
      mixflow::mixflow(Args{"grad", "--out", "no/where.safetensors"} + config, directory.path);
  CHECK(nowhere.code == 2);
  CHECK(has(nowhere.err, "there is no directory no"));
}

TEST_CASE("grad refuses a file under another framework's names, and names what it expects") {
  const TemporaryDirectory directory;
  const Args config = tiny(set({"meta.parameters=[{kind: init}]"}));
  CHECK(mixflow::mixflow(Args{"grad", "--out", "a.safetensors"} + config, directory.path).code ==
        0);
  const TensorFile good = read_safetensors(directory / "a.safetensors");
  const auto grad = [&](const TensorFile& file) {
    write_safetensors(directory / "b.safetensors", file);
    return mixflow::mixflow(Args{"grad", "--in", "b.safetensors"} + config, directory.path);
  };
  TensorFile torch;
  torch.tensors = {*good.find("eta.init.layers.0.weight"), *good.find("eta.init.layers.0.bias")};
  torch.tensors[0].name = "0.weight";
  std::ranges::reverse(torch.tensors[0].shape);
  torch.tensors[1].name = "0.bias";
  const Outcome alone = grad(torch);
  CHECK(alone.code == 2);
  CHECK_MESSAGE(has(alone.err,
                    "none of the file's names is an input of the config, expected "
                    "eta.init.layers.0.weight[1,"),
                alone.err);
  CHECK(has(alone.err, "weights here are [in, out], those of torch.nn.Linear [out, in]"));
  // Beside data that fits, weights that do not are an error too: they would be drawn.
  for (const NamedTensor& tensor : good.tensors)
    if (tensor.name.starts_with("data.")) torch.tensors.push_back(tensor);
  const Outcome beside = grad(torch);
  CHECK(beside.code == 2);
  CHECK_MESSAGE(has(beside.err,
                    "no input of the config has this name, but the file lacks one of "
                    "its shape, expected eta.init.layers.0.weight[1,"),
                beside.err);
  // A file with all inputs may hold anything else, of any type.
  TensorFile more = good;
  more.tensors.push_back(*good.find("eta.init.layers.0.weight"));
  more.tensors.back().name = "buffer";
  const Outcome fits = grad(more);
  CHECK(fits.code == 0);
  CHECK_MESSAGE(has(fits.err, "not read, as they are no inputs: buffer\n"), fits.err);
  CHECK(std::ranges::count(fits.err, '\n') == 1);
}

TEST_CASE("grad refuses labels and token ids out of range, on any number of threads") {
  const TemporaryDirectory directory;
  write_atomically(directory / "text.txt", std::string(600, 'a') + "bcd");
  write_atomically(directory / "set.csv",
                   "u,v,t\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n9,1,0\n2,3,1\n4,5,0\n6,7,1\n8,9,0\n1,3,1\n");
  write_atomically(directory / "labels.yaml",
                   "data: {kind: tabular, x: set.csv, target_column: t}\n"
                   "model: {kind: mlp, hidden: [3]}\n"
                   "inner: {loss: cross_entropy}\n"
                   "meta: {parameters: [{kind: lr}], batch: 4}\n");
  write_atomically(directory / "tokens.yaml",
                   "data: {kind: text, path: text.txt, sequence: 8, batch: 2}\n"
                   "model: {kind: transformer, vocab: 256, d_model: 8, ffw: 8, heads: 1, kv_size: "
                   "8, layers: 1}\n"
                   "inner: {steps: 1, optimizer: {kind: sgd, lr: 0.01}}\n"
                   "meta: {parameters: [{kind: lr}], batch: 4}\n");
  for (const auto& [config, name, range] :
       {std::tuple("labels.yaml", "data.inner.y", "0 to 1, the labels of the classes"),
        std::tuple("tokens.yaml", "data.outer.tokens", "0 to 255, the ids of the vocabulary")}) {
    CHECK(mixflow::mixflow({"grad", config, "--out", "a.safetensors"}, directory.path).code == 0);
    const TensorFile good = read_safetensors(directory / "a.safetensors");
    for (const std::int32_t value : {-1, 256, 2147483647}) {
      TensorFile file = good;
      for (NamedTensor& tensor : file.tensors)
        if (tensor.name == name)
          std::memcpy(tensor.data.data() + tensor.data.size() - 4, &value, sizeof value);
      write_safetensors(directory / "a.safetensors", file);
      for (const char* threads : {"1", "2"}) {
        const Outcome outcome = mixflow::mixflow(
            {"grad", config, "--in", "a.safetensors", "--threads", threads}, directory.path);
        CHECK(outcome.code == 2);
        CHECK_MESSAGE(
            outcome.err.starts_with("mixflow: a.safetensors: " + std::string(name) + "[3,"),
            outcome.err);
        CHECK_MESSAGE(
            outcome.err.ends_with("] is " + std::to_string(value) + ", expected " + range + "\n"),
            outcome.err);
      }
    }
  }
}

TEST_CASE("grad refuses numbers where labels belong") {
  const TemporaryDirectory directory;
  write_atomically(directory / "set.csv",
                   "u,v,t\n1,2,0\n3,4,1\n5,6,0\n7,8,1\n9,1,0\n2,3,1\n4,5,0\n6,7,1\n8,9,0\n1,3,1\n");
  write_atomically(directory / "c.yaml",
                   "data: {kind: tabular, x: set.csv, target_column: t}\n"
                   "model: {kind: mlp, hidden: [3]}\n"
                   "inner: {loss: cross_entropy}\n"
                   "meta: {parameters: [{kind: lr}]}\n");
  CHECK(mixflow::mixflow({"grad", "c.yaml", "--out", "a.safetensors"}, directory.path).code == 0);
  TensorFile file = read_safetensors(directory / "a.safetensors");
  for (NamedTensor& tensor : file.tensors)
    if (tensor.name == "data.inner.y") tensor.type = StoredType::f32;
  write_safetensors(directory / "a.safetensors", file);
  const Outcome outcome =
      mixflow::mixflow({"grad", "c.yaml", "--in", "a.safetensors"}, directory.path);
  CHECK(outcome.code == 2);
  CHECK(has(outcome.err, "mixflow: a.safetensors: "));
  CHECK(has(outcome.err, "data.inner.y"));
}

TEST_CASE("grad reports a meta-gradient that is not finite as a failed run and writes nothing") {
  const TemporaryDirectory directory;
  const Outcome outcome =
      mixflow::mixflow(Args{"grad", "--out", "a.safetensors"} +
                           tiny(set({"inner.optimizer.lr=1e30", "inner.steps=3"})),
                       directory.path);
  CHECK(outcome.code == 1);
  CHECK(has(outcome.err, "mixflow: run failed: the meta-gradient is not finite"));
  CHECK(directory.entries() == 0);
}

TEST_CASE("graph prints every stage as text, dot and JSON") {
  const TemporaryDirectory directory;
  std::int64_t nodes = 0;
  for (const std::string stage : {"loss", "inner-grad", "meta-grad", "program"}) {
    CAPTURE(stage);
    const Args args = Args{"graph", "--stage", stage} + tiny();
    const Outcome text = mixflow::mixflow(args, directory.path);
    CHECK(text.code == 0);
    CHECK(has(text.out, "f32["));
    const Outcome dot = mixflow::mixflow(args + Args{"--format", "dot"}, directory.path);
    CHECK(dot.out.starts_with("digraph"));
    CHECK(std::ranges::count(dot.out, '{') == std::ranges::count(dot.out, '}'));
    const auto json = json_of(mixflow::mixflow(args + Args{"--json"}, directory.path));
    CHECK(json.at("stage") == stage);
    CHECK(json.at("graph") == text.out);
    if (stage == "inner-grad") CHECK(json.at("nodes").get<std::int64_t>() > nodes);
    nodes = json.at("nodes").get<std::int64_t>();
  }
}

TEST_CASE("plan warns of what loops should keep and cannot, as train does") {
  const TemporaryDirectory directory;
  const Args tiny_plan = Args{"plan"} + tiny(set({"gradient.remat.inline=true"}));
  CHECK(!has(mixflow::mixflow(tiny_plan, directory.path).err, "has no effect"));
  const Outcome outcome =
      mixflow::mixflow(tiny_plan + set({"gradient.remat.step=false"}), directory.path);
  CHECK(outcome.code == 0);
  CHECK_MESSAGE(has(outcome.err,
                    "-s gradient.remat.step=false: gradient.remat.step: has no effect, because "
                    "loops over few values become straight code here"),
                outcome.err);
}

TEST_CASE("train --schema prints every key, and as JSON Schema") {
  const TemporaryDirectory directory;
  const Outcome text = mixflow::mixflow({"train", "--schema"}, directory.path);
  CHECK(text.code == 0);
  for (const char* key : {"save_inner_grads", "per_parameter", "checkpoint_every", "eps_root"})
    CHECK_MESSAGE(has(text.out, key), key);
  const auto json = json_of(mixflow::mixflow({"train", "--schema", "--json"}, directory.path));
  CHECK(json.at("$schema").is_string());
  CHECK(json.at("properties").contains("inner"));
  CHECK(directory.entries() == 0);
}
