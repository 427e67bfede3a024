#include "sweep/structure.h"

#include <variant>

#include "config/load.h"

namespace mixflow {
namespace {

// 0 and 1 may fold graphs; all other numbers give the same graph.
void forget(double& value, double any) {
  if (value != 0 && value != 1) value = any;
}

// Each number has a value of its own, since equal constants are shared.
void forget_numbers(OptimizerConfig& optimizer) {
  forget(optimizer.lr, 0.011);
  forget(optimizer.momentum, 0.87);
  forget(optimizer.beta1, 0.88);
  forget(optimizer.beta2, 0.97);
  forget(optimizer.eps, 1.3e-8);
  forget(optimizer.eps_root, 1.7e-12);
  forget(optimizer.weight_decay, 0.0021);
}

}  // namespace

std::string structure_of(const Config& config) {
  Config copy = config;
  copy.name = "any";
  copy.seed = 0;
  forget_numbers(copy.inner.optimizer);
  forget_numbers(copy.meta.optimizer);
  copy.meta.schedule = {};
  copy.meta.steps = 1;
  copy.meta.checkpoint_every = 1;
  copy.meta.checkpoint_minutes = 0;
  copy.meta.eval.every = 0;
  return dump_config(copy);
}

}  // namespace mixflow
