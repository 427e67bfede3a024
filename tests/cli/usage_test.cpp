// The command line itself: exit codes, help, what goes to stdout.
#include "process.h"

using namespace mixflow;

namespace {

const Args kSubcommands = {"train", "plan", "sweep", "check", "grad", "report", "graph", "info"};

// One message, of one line, and nothing on stdout.
void check_usage_refused(const Args& args, const std::string& message) {
  const TemporaryDirectory directory;
  const Outcome outcome = mixflow::mixflow(args, directory.path);
  CAPTURE(args.size());
  CHECK(outcome.code == 2);
  CHECK(outcome.out == "");
  CHECK(outcome.err == "mixflow: " + message + "\n");
  CHECK(directory.entries() == 0);
}

}  // namespace

TEST_CASE("the help of every subcommand has an example that names it") {
  const TemporaryDirectory directory;
  for (const std::string& name : kSubcommands) {
    CAPTURE(name);
    const Outcome outcome = mixflow::mixflow({name, "--help"}, directory.path);
    CHECK(outcome.code == 0);
    CHECK(outcome.err == "");
    const std::size_t example = outcome.out.find("Example");
    REQUIRE(example != std::string::npos);
    CHECK(outcome.out.find("mixflow " + name, example) != std::string::npos);
    CHECK(outcome.out.find("--json") != std::string::npos);
  }
  const Outcome all = mixflow::mixflow({"--help"}, directory.path);
  CHECK(all.code == 0);
  for (const std::string& name : kSubcommands)
    CHECK(all.out.find("\n  " + name) != std::string::npos);
  const Outcome version = mixflow::mixflow({"--version"}, directory.path);
  CHECK(version.code == 0);
  CHECK(version.out.starts_with("mixflow "));
}

TEST_CASE("a wrong command line is refused with one message that names the way out") {
  const std::string known =
      " (subcommands: train, plan, bench, sweep, check, grad, report, graph, info)";
  check_usage_refused({}, "expected a subcommand" + known);
  check_usage_refused({"nope"}, "unknown subcommand nope" + known);
  check_usage_refused({"trian", "x.yaml"}, "unknown subcommand trian, did you mean train?" + known);
  check_usage_refused({"--verbos"}, "unknown option --verbos, did you mean --version?" + known);
  check_usage_refused(
      {"train"}, "train: expected a CONFIG: mixflow train configs/quickstart.yaml (or --schema)");
  check_usage_refused(
      {"train", "--thread", "2"},
      "train: unknown option --thread, did you mean --threads? (see mixflow train --help)");
  check_usage_refused({"train", "--nope=3", "a.yaml"},
                      "train: unknown option --nope (see mixflow train --help)");
  check_usage_refused({"train", "a.yaml", "b.yaml"},
                      "train: unexpected argument b.yaml (see mixflow train --help)");
  check_usage_refused({"train", "a.yaml", "-s"},
                      "train: --set: 1 required TEXT missing (see mixflow train --help)");
  check_usage_refused(
      {"train", "a.yaml", "--threads", "-1"},
      "train: --threads: Value -1 not in range 0 to 1024 (see mixflow train --help)");
  check_usage_refused({"plan"}, "plan: CONFIG is required (see mixflow plan --help)");
  check_usage_refused(
      {"graph", "a.yaml", "--stage", "x"},
      "graph: --stage: x not in {loss,inner-grad,meta-grad,program} (see mixflow graph "
      "--help)");
}

TEST_CASE("a missing config, a bad override and a bad output directory are the user's errors") {
  for (const std::string name : {"train", "plan", "check", "grad", "graph"}) {
    check_usage_refused(
        {name, "none.yaml"},
        "none.yaml: cannot open the config: No such file or directory; check the path, "
        "which is relative to the current directory");
  }
  check_usage_refused(
      {"train", shipped("quickstart.yaml"), "-s", "a.b=1"},
      "-s a.b=1: a: unknown key; keys here: name, seed, precision, threads, data, model, "
      "inner, meta, gradient");
  check_usage_refused({"train", shipped("quickstart.yaml"), "--out", "/dev/null/run"},
                      "/dev/null/run: cannot be created: Not a directory; choose another --out");
  const std::string long_name(300, 'x');
  check_usage_refused({"train", shipped("quickstart.yaml"), "--out", long_name},
                      long_name + ": cannot be created: File name too long; choose another --out");
}

TEST_CASE("sizes that no machine holds are refused by the tensor's name or the work they ask for") {
  const Args quick = {"plan", shipped("quickstart.yaml"), "-s"};
  check_usage_refused(
      quick + Args{"model.hidden=[2000000000, 2000000000]"},
      "model: layers.1.weight of shape [2000000000,2000000000] is too large: expected at "
      "most 2^48 elements; lower the sizes of model, data, inner.steps or meta.batch");
  check_usage_refused(
      quick + Args{"model.hidden=[10000000, 1000000]"} +
          set({"data.shots=20000", "data.queries=20000"}),
      "the experiment is too large: more than 2^63 FLOPs; lower the sizes of model, data, "
      "inner.steps or meta.batch");
}

TEST_CASE("a seed is read to its last digit or refused") {
  const Args quick = {"graph", shipped("quickstart.yaml"), "-s"};
  check_usage_refused(
      quick + Args{"seed=9007199254740993"},
      "-s seed=9007199254740993: seed: expected an integer >= 0, got 9007199254740993, "
      "which is more than 9007199254740992 (seeds everything random; default 1)");
}

TEST_CASE("results that cannot be written are a failed run") {
  const TemporaryDirectory directory;
  for (const std::string& command : {"plan --json " + shipped("quickstart.yaml"),
                                     std::string("train --schema"), std::string("--help")}) {
    CAPTURE(command);
    const Outcome outcome =
        Process::shell("exec \"$0\" " + command + " > /dev/full", directory.path).wait();
    CHECK(outcome.code == 1);
    CHECK(outcome.err ==
          "mixflow: run failed: stdout: the results could not be written; is the disk full, or "
          "stdout closed?\n");
  }
}

TEST_CASE("--json puts one JSON value on stdout and nothing else") {
  const TemporaryDirectory directory;
  const Args quick = {shipped("quickstart.yaml"), "-s", "meta.batch=3", "--json"};
  for (const Args& args :
       {Args{"train"} + tiny({"--json", "--out", "a"}), Args{"plan"} + quick,
        Args{"plan", "--explain"} + quick, Args{"check"} + quick, Args{"grad"} + quick,
        Args{"graph"} + quick, Args{"info", "--json"}, Args{"train", "--schema", "--json"}}) {
    CAPTURE(args[0]);
    const Outcome outcome = mixflow::mixflow(args, directory.path);
    CHECK(outcome.code == 0);
    CHECK(json_of(outcome).is_object());
  }
}

TEST_CASE("warnings about a config go to stderr and do not stop it") {
  const TemporaryDirectory directory;
  const Outcome outcome = mixflow::mixflow(
      Args{"grad", "--json"} + tiny(set({"gradient.mode=finite_difference"})), directory.path);
  CHECK(outcome.code == 0);
  json_of(outcome);
  CHECK(outcome.err ==
        "warning: -s gradient.mode=finite_difference: gradient.mode: finite differences lose about "
        "half of the digits; set precision: f64\n");
}

TEST_CASE("info tells the build, the processor and the speed of products") {
  const TemporaryDirectory directory;
  const auto json = json_of(mixflow::mixflow({"info", "--json", "--threads", "1"}, directory.path));
  for (const char* key :
       {"version", "build", "compiler", "cpu", "features", "kernels", "bf16_kernels", "onednn"})
    CHECK_MESSAGE(json.at(key).is_string(), key);
  CHECK(json.at("threads") == 1);
  for (const char* type : {"f32", "bf16"})
    CHECK(json.at("matmul_gflops").at(type).at("one_thread").get<double>() > 0);
  const Outcome text = mixflow::mixflow({"info"}, directory.path);
  CHECK(text.code == 0);
  CHECK(text.out.find("Matmul peak") != std::string::npos);
}
