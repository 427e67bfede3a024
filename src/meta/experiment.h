// From a configuration to graphs: the inner unroll, the meta-gradient and the meta-update, as one
// graph of one meta-step; and the graph that evaluates held-out tasks. Only builds graphs; nothing
// here computes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "data/source.h"
#include "graph/graph.h"

namespace mixflow {

enum class Role : std::uint8_t {
  eta,          // a meta-parameter tensor (raw, before its transform); input and output
  meta_state,   // meta-optimiser state; input and output
  theta0,       // theta_0 where it is not a meta-parameter
  inner_state,  // [N, ..], where inner.reset_every carries it on: theta and the inner optimiser's
                // state of each task; input and output
  data_inner,   // [N, T or 1, B, ..]
  data_outer,   // [N, B, ..]
  scalar,     // meta_lr, meta_step (t from 1), steps_done (by the carried inner state), as scalars
  meta_grad,  // train in mode finite_difference: the meta-gradient is an input
  frozen,     // objective with a window: frozen.<eta name>, read by the steps before the window
  result,     // outputs other than eta, meta_state and inner_state
};

struct Port {
  std::string name;  // as in the exchange file: eta.init.layers.0.weight, theta.., data.inner.x,
                     // meta_grad.., inner_loss, ..
  Role role;
  Type type;
};

// A graph with named inputs and outputs, the same order as graph->inputs and graph->outputs.
struct Stage {
  GraphPtr graph;
  std::vector<Port> inputs;
  std::vector<Port> outputs;
  int input(std::string_view name) const;  // index, or -1
  int output(std::string_view name) const;
};

// Names of the carried theta and optimiser state of one weight tensor.
std::string carried_theta_name(std::string_view tensor);
std::string carried_opt_state_name(std::string_view state, std::string_view tensor);

// How a tensor starts: drawn by exec from the seed, never by a graph.
struct InitialValue {
  std::string name;        // the input port's name
  Init init = Init::zero;  // fan_in / he: normal with deviation `deviation`
  double deviation = 0;
  double value = 0;  // added: constant starts (a learning rate, a norm gain)
};

// eta.lr.x -> meta_grad.lr.x: the name of an eta tensor's gradient.
std::string meta_grad_name(std::string_view eta_name);

struct Experiment {
  // As given, but for meta.eval: `steps` in order, `tasks` as many as one evaluation takes.
  Config config;
  DType dtype = DType::f32;
  std::vector<Port> eta;              // the meta-parameters, in order
  std::vector<InitialValue> initial;  // for every eta and theta0 port; meta_state starts at zero

  // One meta-step. in: eta, meta_state, theta0, inner_state, data, scalar. out: eta, meta_state,
  // inner_state, then outer_loss [] (mean over tasks), inner_loss [T] (mean over tasks),
  // meta_grad_norm [] (before clipping). Where the inner state is carried, the graph does not read
  // theta0: it is there to reset the state from.
  Stage train;
  // One meta-gradient, for `grad` and `check`, of an unroll from theta_0, also where `train`
  // carries the inner state. in: eta, theta0, data. out: meta_grad.<eta name without "eta."> each,
  // theta_T.<name> [N, ..], inner_loss [N, T], outer_loss [N].
  Stage grad;
  // Losses only (the forward unroll), for finite differences. in as grad and, with a window, the
  // frozen ports; out: outer_loss [N].
  Stage objective;
  // Held-out tasks: outer loss (and accuracy for classification) after each of
  // config.meta.eval.steps, which are ascending and distinct here. in as grad with N = eval_batch;
  // inner data hold the largest of those numbers of steps (at least 1), outer batches have the size
  // of the test split's. out: eval_loss [N, points], eval_accuracy [N, points] (classification
  // only), eval_variance [N, points] of the examples' losses (over their number; only where the
  // source has one task).
  Stage eval;
  // The carried theta on held-out outer batches, where the inner state is carried; otherwise no
  // graph. in: the theta of inner_state, data (inner data of one step, not read). out: state_loss
  // [N].
  Stage state_eval;
  // The same for the validation split, where its outer batches have another size; otherwise no
  // graphs: the stages above serve both.
  Stage validation_eval;
  Stage validation_state_eval;
  std::int64_t eval_batch = 1;  // N of the eval stage; divides config.meta.eval.tasks

  // L of one inner step: (theta.., what of eta it reads.., batch fields) -> scalar.
  GraphPtr inner_loss;

  std::int64_t theta_size = 0;  // number of inner parameters
  std::int64_t model_flop = 0;  // dots of one meta-step in mixed mode, nothing recomputed
};

// What to build; what is not asked for stays empty (a stage without a graph, a model_flop of 0).
struct Parts {
  bool train = false;
  bool grad = false;
  bool objective = false;
  bool eval = false;
  bool model_flop = false;
};
inline constexpr Parts kAllParts{
    .train = true, .grad = true, .objective = true, .eval = true, .model_flop = true};

// `dtype` f32 for the fast path, f64 for exact work. Mode and remat switches come from
// config.gradient. finite_difference has the graphs of mixed. Throws UserError for sizes that are
// too large (graph.h).
Experiment build_experiment(const Config& config, const DataSchema& source, DType dtype,
                            const Parts& parts = kAllParts);

}  // namespace mixflow
