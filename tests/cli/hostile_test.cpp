// Inputs and circumstances that must not hang, crash or silently end a command.
#include <sys/stat.h>

#include "../data/bytes.h"
#include "data/safetensors.h"
#include "process.h"

using namespace mixflow;

namespace {

std::string sinusoid(const std::string& name = "c") {
  return "name: " + name +
         "\ndata: {kind: sinusoid}\nmodel: {kind: mlp, hidden: [4]}\n"
         "meta: {parameters: [{kind: init}], batch: 2, steps: 3, eval: {tasks: 2}}\n";
}

}  // namespace

TEST_CASE("pipes, devices, directories and endless files are refused wherever a file is named") {
  const TemporaryDirectory directory;
  REQUIRE(::mkfifo((directory / "pipe").c_str(), 0600) == 0);
  std::filesystem::create_directory(directory / "folder");
  for (const char* name : {"pipe.npy", "pipe.csv", "pipe.yaml", "pipe.safetensors"}) {
    std::filesystem::create_symlink("pipe", directory / name);
  }
  for (const char* name : {"zero.npy", "zero.csv", "zero.yaml", "zero.safetensors"}) {
    std::filesystem::create_symlink("/dev/zero", directory / name);
  }
  for (const char* name : {"sparse.npy", "sparse.yaml", "sparse.safetensors"}) {
    write_atomically(directory / name, "x");
    std::filesystem::resize_file(directory / name, std::uintmax_t{1} << 42);
  }
  write_atomically(directory / "c.yaml", sinusoid());
  write_atomically(directory / "y.npy", npy("<i4", "(2,)", raw(std::vector<std::int32_t>{0, 1})));
  const auto tabular = [&](const std::string& x) {
    write_atomically(directory / "t.yaml",
                     "data: {kind: tabular, x: " + x +
                         (x.ends_with(".csv") ? ", target_column: t" : ", y: y.npy") +
                         "}\nmodel: {kind: mlp, hidden: [4]}\n"
                         "inner: {loss: cross_entropy}\nmeta: {parameters: [{kind: lr}]}\n");
    return "plan t.yaml";
  };
  const auto base = [&](const std::string& file) {
    write_atomically(directory / "s.yaml", "base: " + file + "\nseeds: [1, 2]\n");
    return "sweep s.yaml --dry-run";
  };
  const auto refused = [&](const std::string& command, const std::string& why) {
    CAPTURE(command);
    // A limit of processor time: nothing is read to its end.
    const Outcome outcome =
        Process::shell("ulimit -t 20; exec \"$0\" " + command, directory.path).wait();
    CHECK(outcome.code == 2);
    CHECK_MESSAGE(has(outcome.err, why), outcome.err);
    CHECK(std::ranges::count(outcome.err, '\n') == 1);
  };
  for (const auto& [stem, why] : {std::pair("pipe", "is a pipe"), {"zero", "is a device"}}) {
    const std::string name = stem;
    refused("plan " + name + ".yaml", why);
    refused("train " + name + ".yaml", why);
    refused("sweep " + name + ".yaml", why);
    refused("grad c.yaml --in " + name + ".safetensors", why);
    refused(base(name + ".yaml"), why);
    refused(tabular(name + ".npy"), "is a ");
    refused(tabular(name + ".csv"), "is a ");
  }
  refused("plan folder", "is a directory");
  refused("grad c.yaml --in folder", "is a directory");
  refused(tabular("folder"), "folder");
  refused("plan sparse.yaml", "larger than 1.0 MiB, which no config is");
  refused("sweep sparse.yaml", "larger than 1.0 MiB, which no sweep is");
  refused("grad c.yaml --in sparse.safetensors", "sparse.safetensors: ");
}

TEST_CASE("a number of threads that no machine has is refused, written anywhere") {
  const TemporaryDirectory directory;
  write_atomically(directory / "c.yaml", sinusoid());
  for (const std::string command : {"train", "plan", "grad", "check"}) {
    CAPTURE(command);
    const Outcome key =
        mixflow::mixflow({command, "c.yaml", "-s", "threads=100000"}, directory.path);
    CHECK(key.code == 2);
    CHECK_MESSAGE(
        has(key.err, "threads: expected an integer >= 0, got 100000, which is more than 1024"),
        key.err);
    const Outcome option =
        mixflow::mixflow({command, "c.yaml", "--threads", "100000"}, directory.path);
    CHECK(option.code == 2);
    CHECK_MESSAGE(has(option.err, "1024"), option.err);
  }
}

TEST_CASE("a config that needs more memory than the process may use is refused before it runs") {
  if (!kThorough) return;  // sanitizers reserve terabytes of address space, which count as data
  const TemporaryDirectory directory;
  write_atomically(directory / "c.yaml", sinusoid());
  const std::string settings = " c.yaml -s model.hidden=[3000,3000] -s inner.steps=3 --threads 1";
  const auto limited = [&](const std::string& command) {
    return Process::shell("ulimit -d 200000; exec \"$0\" " + command + settings, directory.path)
        .wait();
  };
  for (const std::string command : {"train", "grad", "check"}) {
    CAPTURE(command);
    const Outcome outcome = limited(command);
    CHECK(outcome.code == 2);
    CHECK_MESSAGE(has(outcome.err, "c.yaml: needs "), outcome.err);
    CHECK_MESSAGE(has(outcome.err,
                      ", more than the 195.3 MiB of memory that this process may use; "
                      "lower meta.batch, or inner.steps, or data.shots, or "
                      "data.queries, or model.hidden\n"),
                  outcome.err);
    CHECK_FALSE(std::filesystem::exists(directory.path / "runs"));
  }
  const Outcome plan = limited("plan");
  CHECK(plan.code == 0);
  CHECK_MESSAGE(has(plan.out, "c.yaml needs "), plan.out);
  CHECK(has(plan.out, "more than the 195.3 MiB of memory that this process may use"));
  CHECK_FALSE(has(mixflow::mixflow({"plan", "c.yaml"}, directory.path).out, "needs "));
}

TEST_CASE("a reader that leaves ends no training, and other commands quietly") {
  const TemporaryDirectory directory;
  write_atomically(directory / "c.yaml", sinusoid());
  const auto run = [&](const std::string& command) {
    const Outcome outcome =
        Process::shell("(" + command + " 2>err; echo $? >code) | true; cat err", directory.path)
            .wait();
    return std::pair(read_text(directory / "code"), outcome.out);
  };
  for (const std::string command :
       {"plan c.yaml", "graph c.yaml", "train --schema", "--help", "report runs"}) {
    CAPTURE(command);
    if (command == "report runs") run("sleep 0.1; \"$0\" train c.yaml --quiet");
    const auto [code, err] = run("sleep 0.1; \"$0\" " + command);
    CHECK(code == "0\n");
    CHECK(err == "");
  }
  const auto [code, err] = run("sleep 0.1; \"$0\" train c.yaml --out r --quiet");
  CHECK(code == "0\n");
  CHECK_MESSAGE(has(err, "stdout could not be written; the summary is in r/summary.json"), err);
  CHECK(std::filesystem::exists(directory / "r/summary.json"));
}

TEST_CASE("closed streams are not taken for files that are opened later") {
  const TemporaryDirectory directory;
  write_atomically(directory / "c.yaml", sinusoid());
  const Outcome open = mixflow::mixflow({"train", "c.yaml", "--out", "open"}, directory.path);
  CHECK(open.code == 0);
  const Outcome closed =
      Process::shell("exec \"$0\" train c.yaml --out closed >&- 2>&- <&-", directory.path).wait();
  CHECK(closed.code == 0);
  CHECK(read_text(directory / "open/eval.jsonl") == read_text(directory / "closed/eval.jsonl"));
  CHECK(Process::shell("exec \"$0\" plan c.yaml >&-", directory.path).wait().code == 1);
}

TEST_CASE("control characters of names and files never reach the terminal") {
  const TemporaryDirectory directory;
  const std::string escape = "\033[2J\xc2\x9b";
  const Outcome missing = mixflow::mixflow({"plan", "no" + escape + ".yaml"}, directory.path);
  CHECK(missing.code == 2);
  CHECK_MESSAGE(has(missing.err, "no\\u001b[2J\\u009b.yaml"), missing.err);
  write_atomically(directory / ("c" + escape + ".yaml"), sinusoid());
  for (const Args& args : {Args{"plan", "c" + escape + ".yaml", "--explain"},
                           Args{"train", "c" + escape + ".yaml", "--out", "r" + escape}}) {
    const Outcome outcome = mixflow::mixflow(args, directory.path);
    CHECK(outcome.code == 0);
    for (const std::string& text : {outcome.out, outcome.err}) {
      CHECK(text.find('\033') == std::string::npos);
      CHECK(text.find("\xc2\x9b") == std::string::npos);
    }
  }
  TensorFile file;
  file.tensors = {{.name = "eta." + escape, .type = StoredType::f32, .shape = {}, .data = {4, {}}}};
  write_safetensors(directory / "a.safetensors", file);
  write_atomically(directory / "c.yaml", sinusoid());
  const Outcome in = mixflow::mixflow({"grad", "c.yaml", "--in", "a.safetensors"}, directory.path);
  CHECK(in.code == 2);
  CHECK_MESSAGE(has(in.err, "eta.\\u001b[2J\\u009b[]: the config has no such input"), in.err);
}
