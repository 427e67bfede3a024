#include "train/meta_step.h"

#include "train/inner_state.h"
#include "train/schedule.h"

namespace mixflow {

MetaStep::MetaStep(const Experiment& experiment, const TaskSource& source, ProgramPtr program,
                   ExecutorOptions executor)
    : experiment_(experiment),
      source_(source),
      train_(experiment.train, std::move(program), std::move(executor)) {
  if (experiment.config.gradient.mode == Mode::finite_difference) {
    differences_.emplace(experiment, train_.program().options);
  }
}

void MetaStep::prepare(std::int64_t t) {
  const Config& config = experiment_.config;
  const MetaConfig& meta = config.meta;
  train_.set_scalar("meta_lr", scheduled_lr(meta.schedule, meta.optimizer.lr, t, meta.steps));
  train_.set_scalar("meta_step", static_cast<double>(t));
  give_inner_state(config.inner, t, train_);
  train_.fill(source_, Split::train, static_cast<std::uint64_t>(t), config.precision);
  if (differences_) {
    const std::vector<std::vector<double>> gradient = differences_->gradient(train_);
    for (std::size_t i = 0; i < experiment_.eta.size(); ++i) {
      const Port& port = experiment_.eta[i];
      from_doubles(port.type, gradient[i], train_.input(meta_grad_name(port.name)).data());
    }
  }
}

void MetaStep::run(std::int64_t t, Trace* trace) {
  prepare(t);
  train_.run(trace);
}

}  // namespace mixflow
