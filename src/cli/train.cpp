#include <spdlog/spdlog.h>

#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "config/schema.h"
#include "train/outcome.h"
#include "train/trainer.h"
#include "util/error.h"
#include "util/file.h"
#include "util/text.h"

namespace mixflow {

namespace {

int train_and_show(const TrainCommand& o, std::int64_t& steps_done) {
  const Config config = load(o);
  TrainOptions options;
  options.out = o.out.empty() ? "runs/" + config.name : o.out;
  options.resume = o.resume;
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
  if (o.config.empty())
    throw UserError(
        "train: expected a CONFIG: mixflow train configs/quickstart.yaml (or --schema)");
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
