// Systems that give no memory for machine code: here by prctl, as systemd's MemoryDenyWriteExecute
// does, which a started program keeps.
#include <sys/prctl.h>

#include "process.h"

using namespace mixflow;

namespace {

constexpr int kSetMdwe = 65;  // PR_SET_MDWE and its flag, of Linux 6.3
constexpr unsigned long kRefuseExecGain = 1;

// Runs mixflow where the system refuses; its exit code, or 200 where this system cannot refuse.
int run_refused(const Args& args, const std::filesystem::path& directory) {
  const pid_t child = fork();
  if (child == 0) {
    if (prctl(kSetMdwe, kRefuseExecGain, 0UL, 0UL, 0UL) != 0) _exit(200);
    _exit(Process(args, directory).wait().code);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

// Products that the library would multiply, and elementwise ops that would be code.
Args run_of(const std::string& out) {
  return {"train",
          "-s",
          "data={kind: random_tokens, sequence: 128, batch: 4}",
          "-s",
          "model={kind: transformer, vocab: 256, d_model: 128, ffw: 512, heads: 2, kv_size: 64, "
          "layers: 1}",
          "-s",
          "inner={steps: 1, optimizer: {kind: sgd, lr: 0.1}}",
          "-s",
          "meta={parameters: [{kind: init}], steps: 2, eval: {tasks: 1, steps: [0]}}",
          "--threads",
          "2",
          "--quiet",
          "--out",
          out};
}

}  // namespace

TEST_CASE("a system without memory for machine code trains by kernels without it, and says so") {
  const TemporaryDirectory directory;
  write_atomically(directory / "c.yaml", "seed: 1\n");
  const auto args = [&](const std::string& out) {
    Args all = run_of(out);
    all.insert(all.begin() + 1, "c.yaml");
    return all;
  };
  const int code = run_refused(args("refused"), directory.path);
  if (code == 200) {
    MESSAGE("skipped: this kernel cannot refuse memory for code");
    return;
  }
  CHECK(code == 0);
  CHECK(Process(args("given"), directory.path).wait().code == 0);
  const auto losses = [&](const char* run) {
    std::vector<double> all;
    for (const nlohmann::json& line : json_lines(directory.path / run / "metrics.jsonl"))
      all.push_back(line.at("meta_loss"));
    return all;
  };
  const std::vector<double> refused = losses("refused"), given = losses("given");
  REQUIRE(refused.size() == 2);
  REQUIRE(given.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) CHECK(refused[i] == doctest::Approx(given[i]).epsilon(1e-4));
  const std::string said = read_text(directory.path / "refused" / "log.txt");
  const bool would_make_code =
      read_text(directory.path / "given" / "log.txt").find("kernels AVX3") != std::string::npos;
  CHECK((said.find("the system gives no memory for machine code") != std::string::npos) ==
        would_make_code);
  CHECK((said.find(" without machine code") != std::string::npos) == would_make_code);
  CHECK(read_text(directory.path / "given" / "log.txt").find("machine code") == std::string::npos);
}
