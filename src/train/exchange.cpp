#include "train/exchange.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "data/safetensors.h"
#include "data/source.h"
#include "meta/experiment.h"
#include "train/baseline.h"
#include "train/diagnosis.h"
#include "train/finite_difference.h"
#include "train/memory_check.h"
#include "train/progress.h"
#include "train/stage_run.h"
#include "train/take_inputs.h"
#include "train/threads.h"
#include "util/clock.h"
#include "util/error.h"

namespace mixflow {
namespace {

NamedTensor named(const std::string& name, const Type& type, std::span<const std::byte> bytes) {
  return {.name = name,
          .type = stored_type(type.dtype),
          .shape = type.shape,
          .data = {bytes.begin(), bytes.end()}};
}

}  // namespace

GradReport meta_gradient(const Config& config, const GradOptions& options) {
  const int threads = start_threads(config.threads);
  const std::unique_ptr<TaskSource> source = make_source(config);
  const bool by_differences = config.gradient.mode == Mode::finite_difference;
  const Experiment experiment = build_experiment(config, *source, compute_type(config),
                                                 {.grad = true, .objective = by_differences});
  StageRun run(experiment.grad, fitting(experiment.grad, plan_options(config, threads), config),
               {});
  draw_initial_values(experiment, run);
  run.fill(*source, Split::train, 1, config.precision);
  GradReport report;
  if (!options.in.empty()) {
    report.inputs = take_inputs(options.in, config, *source, run);
  }
  const Clock::time_point start = Clock::now();
  run.run();
  std::vector<std::vector<double>> differences;
  if (by_differences)
    differences = FiniteDifference(experiment, plan_options(config, threads)).gradient(run);
  report.seconds = seconds_since(start);

  TensorFile out;
  for (const Port& port : run.stage().inputs)
    out.tensors.push_back(named(port.name, port.type, run.input(port.name)));
  for (std::size_t j = 0; j < run.stage().outputs.size(); ++j) {
    const Port& port = run.stage().outputs[j];
    std::vector<std::byte> bytes(static_cast<std::size_t>(port.type.bytes()));
    std::copy_n(run.executor().output(static_cast<int>(j)), bytes.size(), bytes.data());
    const auto eta = std::ranges::find_if(
        experiment.eta, [&](const Port& e) { return meta_grad_name(e.name) == port.name; });
    if (eta != experiment.eta.end()) {
      if (!differences.empty()) {
        from_doubles(port.type, differences[static_cast<std::size_t>(eta - experiment.eta.begin())],
                     bytes.data());
      }
      double squares = 0;
      for (const double v : to_doubles(port.type, bytes.data())) squares += v * v;
      report.tensors.push_back({port.name, to_string(port.type), std::sqrt(squares)});
    }
    out.tensors.push_back(named(port.name, port.type, bytes));
  }
  const std::vector<double> losses = run.results("outer_loss");
  for (const double loss : losses) report.outer_loss += loss / static_cast<double>(losses.size());
  report.static_bytes = run.program().static_bytes;
  report.dynamic_bytes = run.program().dynamic_bytes;
  report.arena_peak_bytes = run.executor().arena_peak_bytes();
  // Inputs are the caller's: what is asked of the file is asked of all results.
  for (std::size_t k = run.stage().inputs.size(); k < out.tensors.size(); ++k) {
    const NamedTensor& tensor = out.tensors[k];
    const Type& type = run.stage().outputs[k - run.stage().inputs.size()].type;
    const std::optional<NonFinite> found = find_non_finite(type, tensor.data);
    if (!found) continue;
    const std::string why = by_differences ? "" : diagnose(experiment, run);
    throw RunError("the meta-gradient is not finite (" + tensor.name + found->place + " is " +
                   found->text + "); nothing was written. " +
                   (why.empty() ? "Lower inner.optimizer.lr" : why));
  }
  if (!options.out.empty()) write_safetensors(options.out, out);
  return report;
}

std::string to_json(const GradReport& report) {
  nlohmann::ordered_json tensors = nlohmann::ordered_json::array();
  for (const auto& t : report.tensors)
    tensors.push_back({{"name", t.name}, {"type", t.type}, {"norm", t.norm}});
  const nlohmann::ordered_json json = {
      {"outer_loss", report.outer_loss},
      {"meta_gradient", std::move(tensors)},
      {"drawn", report.inputs.drawn},
      {"not_used", report.inputs.unused},
      {"seconds", report.seconds},
      {"static_bytes", report.static_bytes},
      {"dynamic_bytes", report.dynamic_bytes},
      {"arena_peak_bytes", report.arena_peak_bytes},
  };
  return json.dump(2);
}

std::string to_text(const GradReport& report) {
  char row[256];
  std::snprintf(row, sizeof row, "Outer loss %.9g; meta-gradient in %s; static %s, dynamic %s\n",
                report.outer_loss, format_seconds(report.seconds).c_str(),
                format_bytes(report.static_bytes).c_str(),
                format_bytes(report.dynamic_bytes).c_str());
  std::string text = row;
  for (const auto& t : report.tensors) {
    std::snprintf(row, sizeof row, "  %-40s %-16s norm %.9g\n", t.name.c_str(), t.type.c_str(),
                  t.norm);
    text += row;
  }
  return text;
}

}  // namespace mixflow
