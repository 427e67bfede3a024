// One compiled stage of an experiment, its tensors reached by name.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/source.h"
#include "exec/executor.h"
#include "meta/experiment.h"

namespace mixflow {

// Tensors that one meta-step leaves to the next, and checkpoints hold.
bool outlives_meta_step(Role role);

// Those outputs of a stage are written over the inputs of the same name.
std::vector<Donation> donations_of(const Stage& stage);

// The tensor that an input's values come from: frozen.eta.x takes those of eta.x.
std::string_view source_name(const Port& port);

ProgramPtr compile_stage(const Stage& stage, const PlanOptions& plan);

class StageRun;
// For a run of `stage` that never overlaps with those of `owner`: it reads the owner's eta,
// theta_0 and carried inner state where they are, and works in the owner's arena.
ExecutorOptions beside(const StageRun& owner, const Stage& stage);

class StageRun {
 public:
  // The stage must outlive the run.
  StageRun(const Stage& stage, const PlanOptions& plan, ExecutorOptions executor = {});
  StageRun(const Stage& stage, ProgramPtr program, ExecutorOptions executor);

  Executor& executor() { return executor_; }
  const Executor& executor() const { return executor_; }
  const Program& program() const { return executor_.program(); }
  const Stage& stage() const { return stage_; }

  // Number of bytes and address of an input; InternalError for a name that the stage does not have.
  std::span<std::byte> input(std::string_view name) const;
  bool has_input(std::string_view name) const { return stage_.input(name) >= 0; }
  void set_scalar(std::string_view name, double value);

  // Results of the last run, as doubles.
  double result(std::string_view name) const;
  std::vector<double> results(std::string_view name) const;

  // Copies eta and theta_0 of `from`, the eta of steps before the window included.
  void copy_parameters(const StageRun& from);

  // The tasks of one meta-step, straight into the data inputs.
  void fill(const TaskSource& source, Split split, std::uint64_t index, Precision precision);
  void run(Trace* trace = nullptr) { executor_.run(trace); }

 private:
  const Stage& stage_;
  Executor executor_;
  std::vector<std::byte*> inner_, outer_;  // data inputs, in the order of the source's fields
  std::int64_t data_bytes_ = 0, tasks_ = 0, steps_ = 0;
};

// Draws the starting values of all meta-parameters and of theta_0 that the stage has, and puts a
// carried inner state there. They depend
// on the seed and on the tensor's place in the experiment alone, and are the same numbers in f32
// and f64.
void draw_initial_values(const Experiment& experiment, StageRun& run);

// The first element of a float tensor that is not finite.
struct NonFinite {
  std::string place;  // [2, 3]; "" of a scalar
  std::string text;   // inf, -inf or nan
};
std::optional<NonFinite> find_non_finite(const Type& type, std::span<const std::byte> data);

// [2, 3] for an element of a tensor; "" for a scalar.
std::string place_in(const Shape& shape, std::int64_t element);

// One tensor as doubles, and back.
std::vector<double> to_doubles(const Type& type, const std::byte* data);
void from_doubles(const Type& type, const std::vector<double>& values, std::byte* data);

}  // namespace mixflow
