#include "train/memory_check.h"

#include <variant>
#include <vector>

#include "util/error.h"
#include "util/memory.h"
#include "util/text.h"

namespace mixflow {
namespace {

using Keys = std::vector<std::string>;

// Keys that the config's memory grows with, those first that cost a result the least.
Keys keys_that_lower(const Config& config) {
  Keys keys;
  const auto add = [&](bool holds, const char* key) {
    if (holds) keys.emplace_back(key);
  };
  const GradientConfig& gradient = config.gradient;
  const bool transformer = std::holds_alternative<TransformerModel>(config.model);
  const RematConfig smallest;
  const bool keeps_more = !gradient.remat.step || !gradient.remat.block ||
                          gradient.remat.policy.gradients != smallest.policy.gradients ||
                          gradient.remat.policy.second_order != smallest.policy.second_order ||
                          gradient.remat.policy.reuse != 0;
  add(transformer && keeps_more, "gradient.preset (smallest)");
  add(!transformer && !gradient.remat.step, "gradient.remat.step (true)");
  add(gradient.mode == Mode::reverse, "gradient.mode (mixed)");
  add(gradient.chunk > 1, "gradient.chunk");
  add(config.meta.batch > 1, "meta.batch");
  add(config.inner.steps > 1, "inner.steps");
  if (std::holds_alternative<TokensData>(config.data.source)) {
    add(true, "data.batch");
    add(true, "data.sequence");
  } else if (std::holds_alternative<TabularData>(config.data.source)) {
    add(true, "data.batch");
    add(true, "data.outer_batch");
  } else {
    add(true, "data.shots");
    add(true, "data.queries");
  }
  if (const auto* mlp = std::get_if<MlpModel>(&config.model)) {
    add(!mlp->hidden.empty(), "model.hidden");
  } else {
    add(true, "the model's sizes");
  }
  return keys;
}

}  // namespace

std::int64_t data_input_bytes(const Stage& stage) {
  std::int64_t bytes = 0;
  for (const Port& port : stage.inputs) {
    const bool data = port.role == Role::data_inner || port.role == Role::data_outer;
    if (data) bytes += port.type.bytes();
  }
  return bytes;
}

std::string memory_shortage(const Config& config, const MemoryNeed& need, std::int64_t usable) {
  if (need.bytes() <= usable) return "";
  return "needs " + format_bytes(need.bytes()) + " (planned: static " +
         format_bytes(need.static_bytes) + ", dynamic " + format_bytes(need.dynamic_bytes) +
         "), more than the " + format_bytes(usable) +
         " of memory that this process may use; lower " + join(keys_that_lower(config), ", or ");
}

void require_memory(const Config& config, const MemoryNeed& need) {
  const std::string shortage = memory_shortage(config, need, usable_memory_bytes());
  if (!shortage.empty()) throw UserError(config.file + ": " + shortage);
}

ProgramPtr fitting(const Stage& stage, const PlanOptions& options, const Config& config) {
  ProgramPtr program = compile_stage(stage, options);
  require_memory(config, {program->static_bytes, program->dynamic_bytes});
  return program;
}

}  // namespace mixflow
