#include <spdlog/spdlog.h>

#include <cstdio>

#include "cli/commands.h"
#include "train/exchange.h"
#include "util/text.h"

namespace mixflow {
namespace {

// What became of the file, in one line: an input that the user believes to be given must not be
// drawn in silence.
void tell_inputs(const std::string& file, const TakenInputs& inputs) {
  std::vector<std::string> parts;
  if (!inputs.drawn.empty()) {
    parts.push_back("drawn from the seed, as it lacks them: " + join(inputs.drawn, ", "));
  }
  if (!inputs.results.empty()) {
    parts.push_back("not read, as they are results: " + std::to_string(inputs.results.size()) +
                    " tensors");
  }
  if (!inputs.unused.empty()) {
    parts.push_back("not read, as they are no inputs: " + join(inputs.unused, ", "));
  }
  if (!parts.empty()) spdlog::info("{}: {}", file, join(parts, "; "));
}

}  // namespace

int run(const GradCommand& o) {
  const GradReport report = meta_gradient(load(o), {.in = o.in, .out = o.out});
  tell_inputs(o.in, report.inputs);
  std::printf("%s%s", o.json ? to_json(report).c_str() : to_text(report).c_str(),
              o.json ? "\n" : "");
  return 0;
}

}  // namespace mixflow
