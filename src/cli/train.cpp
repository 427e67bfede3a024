#include <spdlog/spdlog.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/commands.h"
#include "config/schema.h"
#include "train/outcome.h"
#include "train/trainer.h"
#include "util/error.h"
#include "util/file.h"
#include "util/text.h"

namespace mixflow {
namespace {

// A run that goes on needs no config: its own is in its directory, which --out or CONFIG names.
void take_from_run(TrainCommand& command) {
  std::error_code ignored;
  if (std::filesystem::is_directory(command.config, ignored)) {
    if (!command.out.empty() && command.out != command.config)
      throw UserError("train --resume: " + command.config + " and --out " + command.out +
                      " are two directories; give one");
    command.out = std::exchange(command.config, {});
  }
  if (command.config.empty() && !command.out.empty())
    command.config = config_of_run(command.out).string();
}

int train_and_show(const TrainCommand& o, std::int64_t& steps_done) {
  TrainCommand command = o;
  if (o.resume) take_from_run(command);
  if (command.config.empty()) {
    throw UserError(o.resume ? "train --resume: expected the run directory: mixflow train "
                               "runs/quickstart --resume"
                             : "train: expected a CONFIG: mixflow train configs/quickstart.yaml "
                               "(or --schema)");
  }
  const Config config = load(command);
  TrainOptions options;
  options.out = command.out.empty() ? "runs/" + config.name : command.out;
  options.begin = o.resume ? Begin::resume : (o.overwrite ? Begin::overwrite : Begin::fresh);
  options.progress = !o.quiet;
  // A path that cannot be written is an error now, not after the first meta-steps.
  if (!o.trace.empty()) check_writable(o.trace);
  options.trace = o.trace;
  options.steps_done = &steps_done;
  const TrainSummary summary = train(config, options);
  steps_done = summary.steps;
  if (o.json) {
    std::printf("%s\n", to_json(summary).c_str());
  } else {
    std::printf("%sRun directory: %s\n", visible(to_text(summary)).c_str(),
                visible(options.out.string()).c_str());
  }
  // The training is done and its results are in the run directory, whoever reads stdout or not.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::clearerr(stdout);
    spdlog::warn("stdout could not be written; the summary is in {}",
                 (options.out / "summary.json").string());
  }
  return summary.interrupted ? 130 : 0;
}

}  // namespace

int run(const TrainCommand& o) {
  if (o.schema) {
    std::printf("%s\n", o.json ? json_schema().dump(2).c_str() : schema_text().c_str());
    return 0;
  }
  std::int64_t steps_done = 0;
  if (o.outcome.empty()) return train_and_show(o, steps_done);
  try {
    const int code = train_and_show(o, steps_done);
    write_outcome(o.outcome, outcome_of_end(code != 0, steps_done));
    return code;
  } catch (...) {
    write_outcome(o.outcome, outcome_of(std::current_exception(), steps_done));
    throw;
  }
}

}  // namespace mixflow
