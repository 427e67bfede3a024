#include "exec/executor.h"

#include "exec/frame.h"
#include "util/error.h"

namespace mixflow {
struct Executor::Context : FrameContext {};

Executor::Executor(ProgramPtr program, ExecutorOptions options)
    : program_(std::move(program)),
      options_(std::move(options)),
      context_(std::make_unique<Context>()) {
  const Graph& g = *program_->graph;
  MIXFLOW_CHECK(!options_.checked || program_->options.poison,
                "a checked run needs a plan with poison");
  arena_ = options_.arena ? options_.arena
                          : std::make_shared<Arena>(program_->dynamic_bytes, Arena::Kind::working);
  MIXFLOW_CHECK(arena_->bytes() >= program_->dynamic_bytes, "the shared arena is too small");
  zeros_ = std::make_unique<Arena>(program_->body->zeros_bytes, Arena::Kind::zeros);

  std::vector<int> donated_to(g.outputs.size(), -1);
  std::vector<bool> writable(g.inputs.size(), false);
  for (const Donation& d : program_->donations) {
    donated_to[static_cast<std::size_t>(d.output)] = d.input;
    writable[static_cast<std::size_t>(d.input)] = true;
  }
  inputs_ = options_.inputs;
  inputs_.resize(g.inputs.size(), nullptr);
  std::int64_t bytes[2] = {0, 0};
  for (std::size_t i = 0; i < g.inputs.size(); ++i) {
    if (!inputs_[i]) bytes[writable[i]] += aligned(input_bytes(static_cast<int>(i)));
  }
  read_only_statics_ = std::make_unique<Arena>(bytes[0], Arena::Kind::touched);
  writable_statics_ = std::make_unique<Arena>(bytes[1], Arena::Kind::touched);
  std::byte* next[2] = {read_only_statics_->data(), writable_statics_->data()};
  for (std::size_t i = 0; i < g.inputs.size(); ++i) {
    if (inputs_[i]) continue;
    inputs_[i] = next[writable[i]];
    next[writable[i]] += aligned(input_bytes(static_cast<int>(i)));
  }
  std::byte* result = arena_->data();
  for (std::size_t k = 0; k < g.outputs.size(); ++k) {
    if (donated_to[k] >= 0) {
      outputs_.push_back(inputs_[static_cast<std::size_t>(donated_to[k])]);
      continue;
    }
    outputs_.push_back(result);
    result += aligned(output_bytes(static_cast<int>(k)));
  }

  context_->zeros = zeros_->data();
  context_->poison = options_.checked;
  context_->arena = arena_->data();
  context_->arena_bytes = program_->dynamic_bytes;
  root_ =
      std::make_unique<Frame>(program_->body, arena_->data() + program_->result_bytes, *context_);
  if (!arena_->is_touched()) {
    root_->touch();
    arena_->touch(program_->options.threads);
  }
  for (std::size_t i = 0; i < inputs_.size(); ++i) root_->bind_input(i, inputs_[i]);
  for (std::size_t k = 0; k < outputs_.size(); ++k) root_->bind_output(k, outputs_[k]);
}

Executor::~Executor() = default;

std::int64_t Executor::input_bytes(int i) const {
  return program_->graph->type(program_->graph->inputs[static_cast<std::size_t>(i)]).bytes();
}

std::int64_t Executor::output_bytes(int j) const {
  return program_->graph->type(program_->graph->outputs[static_cast<std::size_t>(j)]).bytes();
}

void Executor::run(Trace* trace) {
  context_->trace = trace;
  context_->measuring = !measured_;
  if (options_.checked) read_only_statics_->set_read_only(true);
  root_->run();
  context_->trace = nullptr;
  if (options_.checked) read_only_statics_->set_read_only(false);
  if (measured_) return;
  measured_ = true;
  arena_peak_bytes_ = root_->peak();
  if (program_->workspace_bytes == 0)
    arena_peak_bytes_ = std::max(arena_peak_bytes_, program_->result_bytes);
}

void Executor::run_watched(NonFiniteWatch& watch) {
  const Graph& g = *program_->graph;
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    watch.watch_input(static_cast<int>(i), g.type(g.inputs[i]), inputs_[i]);
  context_->watch = &watch;
  run();
  context_->watch = nullptr;
}

}  // namespace mixflow
