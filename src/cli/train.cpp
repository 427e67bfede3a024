#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/cli.h"
#include "config/schema.h"
#include "train/trainer.h"
#include "util/error.h"
#include "util/file.h"

namespace mixflow {
namespace {

struct Options : CommonOptions {
  std::string out, trace;
  bool resume = false;
  bool schema = false;
  bool quiet = false;
};

int run(const Options& o) {
  if (o.schema) {
    std::printf("%s\n", o.json ? json_schema().dump(2).c_str() : schema_text().c_str());
    return 0;
  }
  if (o.config.empty())
    throw UserError(
        "train: expected a CONFIG: mixflow train configs/quickstart.yaml (or --schema)");
  const Config config = load(o);
  TrainOptions options;
  options.out = o.out.empty() ? "runs/" + config.name : o.out;
  options.resume = o.resume;
  options.progress = !o.quiet;
  // A path that cannot be written is an error now, not after the first meta-steps.
  if (!o.trace.empty()) check_writable(o.trace);
  options.trace = o.trace;
  const TrainSummary summary = train(config, options);
  if (o.json) {
    std::printf("%s\n", to_json(summary).c_str());
  } else {
    std::printf("%sRun directory: %s\n", to_text(summary).c_str(), options.out.c_str());
  }
  return summary.interrupted ? 130 : 0;
}

}  // namespace

void add_train(CLI::App& app, int& exit_code) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train", "Meta-train; writes a run directory");
  add_common(*command, *o);
  command->get_option("CONFIG")->required(false);
  command->add_option("--out", o->out, "Run directory (default: runs/<name>)");
  command->add_flag("--resume", o->resume, "Continue the run in the directory, bit for bit");
  command->add_option("--trace", o->trace,
                      "Write the second meta-step's kernels and memory to this file, in Chrome's "
                      "trace format");
  command->add_flag("--quiet", o->quiet, "No progress");
  command->add_flag("--schema", o->schema,
                    "Print every config key with its default (with --json: JSON Schema) and exit");
  command->footer(
      "Examples:\n"
      "  mixflow train configs/quickstart.yaml\n"
      "  mixflow train configs/quickstart.yaml -s inner.steps=5 -s gradient.mode=reverse --out "
      "runs/reverse\n"
      "  mixflow train configs/quickstart.yaml --resume");
  command->callback([o, &exit_code] { exit_code = run(*o); });
}

}  // namespace mixflow
