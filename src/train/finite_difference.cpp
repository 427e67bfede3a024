#include "train/finite_difference.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "train/memory_check.h"

namespace mixflow {

FiniteDifference::FiniteDifference(const Experiment& experiment, const PlanOptions& plan)
    : experiment_(experiment),
      stage_(experiment.objective, fitting(experiment.objective, plan, experiment.config), {}) {}

double FiniteDifference::objective() {
  stage_.run();
  const std::vector<double> losses = stage_.results("outer_loss");
  double sum = 0;
  for (const double loss : losses) sum += loss;
  return sum / static_cast<double>(losses.size());
}

std::vector<std::vector<double>> FiniteDifference::gradient(const StageRun& run) {
  stage_.copy_parameters(run);
  for (const Port& port : stage_.stage().inputs) {
    if (port.role != Role::data_inner && port.role != Role::data_outer) continue;
    const std::span<std::byte> from = run.input(port.name);
    std::memcpy(stage_.input(port.name).data(), from.data(), from.size());
  }
  std::vector<std::vector<double>> gradient;
  for (const Port& port : experiment_.eta) {
    std::byte* data = stage_.input(port.name).data();
    std::vector<double> values = to_doubles(port.type, data);
    std::vector<double> partials;
    for (double& value : values) {
      const double x = value;
      const double eps =
          experiment_.config.gradient.finite_difference_eps * std::max(1.0, std::abs(x));
      const auto at = [&](double moved) {
        value = moved;
        from_doubles(port.type, values, data);
        return objective();
      };
      const double above = at(x + eps), below = at(x - eps);
      partials.push_back((above - below) / (2 * eps));
      value = x;
    }
    from_doubles(port.type, values, data);
    gradient.push_back(std::move(partials));
  }
  return gradient;
}

}  // namespace mixflow
