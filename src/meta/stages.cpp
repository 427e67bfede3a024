#include "meta/stages.h"

#include <algorithm>
#include <string>

#include "meta/detached.h"
#include "meta/meta_update.h"
#include "models/make_model.h"
#include "ops/op_list.h"
#include "util/checked.h"
#include "util/error.h"

namespace mixflow {
namespace {

std::string without_eta(const std::string& name) { return name.substr(std::string("eta.").size()); }

Type field_type(const Field& field, std::int64_t batch, DType dtype) {
  return stacked({field.dtype == DType::i32 ? DType::i32 : dtype, field.shape}, batch);
}

std::vector<Type> batch_types(const DataSchema& source, std::int64_t batch, DType dtype) {
  std::vector<Type> types;
  for (const Field& field : source.fields()) types.push_back(field_type(field, batch, dtype));
  return types;
}

// Work of all dots, loops multiplied out.
std::int64_t dot_flop(const Graph& graph) {
  std::int64_t flop = 0;
  for (const Node& node : graph.nodes) {
    if (const Region* region = region_of(node)) {
      flop = checked_sum("FLOPs", flop,
                         checked_product("FLOPs", {region->n, dot_flop(*region->body)}));
    } else if (node.op == &op::k_dot) {
      const std::vector<Type> in{graph.type(node.in[0]), graph.type(node.in[1])};
      flop =
          checked_sum("FLOPs", flop, node.op->cost(in, graph.type(node.out[0]), node.attrs).flop);
    }
  }
  return flop;
}

// Dots of the tangents, along directions of the inputs in `moved`, of those gradients of a scalar
// graph with respect to the inputs in `active` that are in `wanted`.
std::int64_t second_order_flop(const Graph& loss, const Mask& active, const Mask& moved,
                               const Mask& wanted) {
  const VjpResult gradient = vjp(loss, active, {true});
  Mask directions(gradient.graph->inputs.size(), false);
  std::copy(moved.begin(), moved.end(), directions.begin());
  const JvpResult both = jvp(*gradient.graph, directions);
  auto tangents = std::make_shared<Graph>(*both.graph);
  tangents->outputs.clear();
  std::size_t output = 0;
  std::size_t next = gradient.graph->outputs.size();
  for (std::size_t i = 0; i < loss.inputs.size(); ++i) {
    if (!gradient.in_nonzero[i] || !both.out_nonzero[output++]) continue;
    if (wanted[i]) tangents->outputs.push_back(both.graph->outputs[next]);
    ++next;
  }
  return dot_flop(*clean(*tangents));
}

std::unique_ptr<const Model> make_model_for(const Config& config, const DataSchema& source) {
  return make_model(config, num_elements(source.fields()[0].shape), source.output_width());
}

std::optional<ScoreNetwork> make_scorer(const Config& config) {
  for (const MetaParameter& parameter : config.meta.parameters) {
    if (parameter.kind != MetaKind::loss_weights) continue;
    return ScoreNetwork(parameter.model, config.gradient);
  }
  return std::nullopt;
}

}  // namespace

// Ports and graph values side by side.
struct StageBuilder::Draft {
  Builder b;
  Stage stage;
  Ids outputs;

  Id input(std::string name, Role role, const Type& type) {
    stage.inputs.push_back({name, role, type});
    return b.input(type, std::move(name));
  }
  void output(std::string name, Role role, Id id) {
    stage.outputs.push_back({std::move(name), role, b.graph().type(id)});
    outputs.push_back(id);
  }
  Stage finish() {
    stage.graph = clean(*b.finish(std::move(outputs)));
    return std::move(stage);
  }
};

Ids StageBuilder::Data::all() const {
  Ids ids = inner;
  append(ids, outer);
  return ids;
}

StageBuilder::StageBuilder(const Config& config, const DataSchema& source, DType dtype)
    : config_(config),
      source_(source),
      dtype_(dtype),
      model_(make_model_for(config, source)),
      scorer_(make_scorer(config)),
      eta_(eta_tensors(config, model_->parameters(),
                       scorer_ ? scorer_->parameters() : std::vector<Parameter>{})),
      hypers_(config.inner, eta_, model_->parameters()),
      inner_data_{batch_types(source, source.inner_batch(), dtype), source.same_batch_every_step()},
      outer_(batch_types(source, source.outer_batch(Split::train), dtype)),
      unroll_(config, *model_, scorer_ ? &*scorer_ : nullptr, hypers_, inner_data_, dtype),
      setting_{config, *model_, hypers_, unroll_, inner_data_, dtype},
      tasks_(config.meta.batch),
      chunk_(std::max<std::int64_t>(config.gradient.chunk, 1)),
      gradient_(build_gradient(Start::theta0)) {
  if (!config.inner.carries_state()) return;
  MIXFLOW_CHECK(!meta_init() && config.gradient.mode != Mode::finite_difference,
                "the loader lets no such config carry its inner state");
  carried_ = build_gradient(Start::carried);
}

std::size_t StageBuilder::num_shared() const {
  return model_->parameters().size() + hypers_.shared().size();
}

bool StageBuilder::meta_init() const {
  return std::ranges::any_of(eta_, [](const EtaTensor& t) { return t.kind == MetaKind::init; });
}

Ids StageBuilder::add_eta(Draft& draft) const {
  Ids eta;
  for (const EtaTensor& tensor : eta_) {
    eta.push_back(draft.input(tensor.name, Role::eta, {dtype_, tensor.shape}));
  }
  return eta;
}

// theta_0: tensors of eta, or inputs of their own.
Ids StageBuilder::add_theta0(Draft& draft, std::span<const Id> eta) const {
  Ids theta0;
  for (std::size_t i = 0; i < eta_.size(); ++i) {
    if (eta_[i].kind == MetaKind::init) theta0.push_back(eta[i]);
  }
  if (!theta0.empty()) return theta0;
  for (const Parameter& parameter : model_->parameters()) {
    theta0.push_back(
        draft.input("theta." + parameter.name, Role::theta0, {dtype_, parameter.shape}));
  }
  return theta0;
}

// What all tasks share when they start from theta_0.
Ids StageBuilder::with_hypers(Builder& b, std::span<const Id> theta0,
                              std::span<const Id> eta) const {
  Ids consts(theta0.begin(), theta0.end());
  append(consts, hypers_.compute(b, eta, config_.inner.steps, dtype_));
  return consts;
}

StageBuilder::Data StageBuilder::add_data(Draft& draft, std::int64_t tasks, std::int64_t steps,
                                          std::span<const Type> outer) const {
  Data data;
  const std::vector<Field> fields = source_.fields();
  for (std::size_t i = 0; i < fields.size(); ++i) {
    data.inner.push_back(draft.input("data.inner." + fields[i].name, Role::data_inner,
                                     stacked(inner_data_.unrolled(i, steps), tasks)));
  }
  for (std::size_t i = 0; i < fields.size(); ++i) {
    data.outer.push_back(
        draft.input("data.outer." + fields[i].name, Role::data_outer, stacked(outer[i], tasks)));
  }
  return data;
}

// The state of all tasks, in the order of a task graph's inputs: theta, then the optimiser's.
Ids StageBuilder::add_inner_state(Draft& draft) const {
  Ids state;
  const auto add = [&](std::string name, const Parameter& parameter) {
    state.push_back(draft.input(std::move(name), Role::inner_state,
                                stacked({dtype_, parameter.shape}, tasks_)));
  };
  for (const Parameter& parameter : model_->parameters()) {
    add(carried_theta_name(parameter.name), parameter);
  }
  for (const Parameter& parameter : model_->parameters()) {
    for (const std::string_view name : opt_state_names(config_.inner.optimizer.kind)) {
      add(carried_opt_state_name(name, parameter.name), parameter);
    }
  }
  return state;
}

StageBuilder::Gradient StageBuilder::build_gradient(Start start) const {
  Gradient gradient;
  gradient.shared = start == Start::carried ? hypers_.shared().size() : num_shared();
  gradient.forward = task_forward(setting_, outer_, start);
  gradient.task =
      task_gradient(*gradient.forward, active_inputs(gradient, start), config_.gradient.mode);
  refuse_unreached(config_, eta_, hypers_, gradient.task.nonzero,
                   start == Start::carried ? 0 : model_->parameters().size());
  gradient.body = build_gradient_body(gradient);
  return gradient;
}

// The inputs of a task graph that depend on eta.
Mask StageBuilder::active_inputs(const Gradient& gradient, Start start) const {
  Mask active(gradient.forward->inputs.size(), false);
  const std::size_t theta0 = start == Start::carried ? 0 : model_->parameters().size();
  for (std::size_t i = 0; i < theta0; ++i) active[i] = meta_init();
  for (std::size_t i = 0; i < hypers_.shared().size(); ++i) {
    active[theta0 + i] = hypers_.shared()[i].active;
  }
  return active;
}

// One chunk of tasks: -> sums (cotangents, outer and inner losses, all over N), ys (outer loss,
// inner losses, theta_T.., and opt_state_T.. if carried).
GraphPtr StageBuilder::build_gradient_body(const Gradient& gradient) const {
  const GraphPtr graph = over_chunk(gradient.task.graph, gradient.shared, 1, chunk_);
  const double share = 1.0 / static_cast<double>(tasks_);
  Builder b;
  Ids args;
  for (std::size_t i = 0; i + 1 < graph->inputs.size(); ++i) {
    args.push_back(b.input(graph->type(graph->inputs[i])));
  }
  args.push_back(b.full(share, dtype_));
  const Ids results = b.inline_graph(*graph, args);
  const auto sum = [&](Id x) { return chunk_ == 1 ? x : b.sum(x, {0}); };
  const std::size_t primals = gradient.forward->outputs.size();
  Ids outputs;
  for (std::size_t i = primals; i < results.size(); ++i) outputs.push_back(sum(results[i]));
  for (std::size_t i = 0; i < 2; ++i) outputs.push_back(b.mul(sum(results[i]), share));
  append(outputs, std::span<const Id>(results).first(primals));
  return b.finish(std::move(outputs));
}

StageBuilder::MetaGradient StageBuilder::meta_gradient(Builder& b, const Gradient& gradient,
                                                       std::span<const Id> eta,
                                                       std::span<const Id> consts,
                                                       std::span<const Id> own) const {
  const Mask& has_cotangent = gradient.task.nonzero;
  const auto nonzero = static_cast<int>(std::ranges::count(has_cotangent, true));
  const Builder::Loop loop = over_tasks(b, gradient.body, consts, own, tasks_, chunk_, nonzero + 2);

  // From the values that tasks share back to eta: once for all tasks, since this part is linear in
  // the cotangents.
  Builder::Scope scope(b, "meta gradient");
  Ids reached;
  Ids bars;
  for (std::size_t i = 0, next = 0; i < consts.size(); ++i) {
    if (!has_cotangent[i]) continue;
    reached.push_back(consts[i]);
    bars.push_back(loop.carry[next++]);
  }
  MetaGradient result;
  result.eta_bar = pullback(b, reached, bars, eta);
  for (std::size_t i = 0; i < eta.size(); ++i) {
    if (result.eta_bar[i] == kNone) result.eta_bar[i] = b.zeros_like(eta[i]);
  }
  result.outer_mean = loop.carry[loop.carry.size() - 2];
  result.inner_mean = loop.carry[loop.carry.size() - 1];
  result.ys = loop.ys;
  return result;
}

// The meta-gradient is an input; only the losses are computed.
StageBuilder::MetaGradient StageBuilder::given_gradient(Draft& draft, std::span<const Id> eta,
                                                        std::span<const Id> theta0,
                                                        const Data& data) const {
  Builder& b = draft.b;
  MetaGradient result;
  for (std::size_t i = 0; i < eta_.size(); ++i) {
    result.eta_bar.push_back(
        draft.input(meta_grad_name(eta_[i].name), Role::meta_grad, b.type(eta[i])));
  }
  const Ids consts = with_hypers(b, theta0, eta);
  const GraphPtr body = over_chunk(lower_grad(*gradient_.forward), num_shared(), 0, chunk_);
  result.ys = over_tasks(b, body, consts, data.all(), tasks_, chunk_, 0).ys;
  result.outer_mean = b.mean(result.ys[0], {0});
  result.inner_mean = b.mean(result.ys[1], {0});
  return result;
}

Stage StageBuilder::train() const {
  Draft draft;
  Builder& b = draft.b;
  const Ids eta = add_eta(draft);
  std::vector<std::string> state_names;
  Ids state;
  for (const EtaTensor& tensor : eta_) {
    for (const std::string_view name : opt_state_names(config_.meta.optimizer.kind)) {
      state_names.push_back("meta_state." + std::string(name) + "." + without_eta(tensor.name));
      state.push_back(draft.input(state_names.back(), Role::meta_state, {dtype_, tensor.shape}));
    }
  }
  const Ids theta0 = add_theta0(draft, eta);
  const std::size_t inner_state = draft.stage.inputs.size();
  Ids own = carried_ ? add_inner_state(draft) : Ids{};
  const std::size_t carried = own.size();
  const Data data = add_data(draft, tasks_, config_.inner.steps, outer_);
  append(own, data.all());
  const Id lr = draft.input("meta_lr", Role::scalar, {dtype_, {}});
  const Id t = draft.input("meta_step", Role::scalar, {dtype_, {}});

  MetaGradient result;
  if (config_.gradient.mode == Mode::finite_difference) {
    result = given_gradient(draft, eta, theta0, data);
  } else if (carried_) {
    const Id done = draft.input("steps_done", Role::scalar, {dtype_, {}});
    const Ids consts = hypers_.compute(b, eta, config_.inner.steps, dtype_, done);
    result = meta_gradient(b, *carried_, eta, consts, own);
  } else {
    result = meta_gradient(b, gradient_, eta, with_hypers(b, theta0, eta), own);
  }
  const MetaUpdate step = meta_update(b, config_.meta, eta_, eta, state, result.eta_bar, lr, t);
  for (std::size_t i = 0; i < eta_.size(); ++i) {
    draft.output(eta_[i].name, Role::eta, step.eta[i]);
  }
  for (std::size_t i = 0; i < state.size(); ++i) {
    draft.output(state_names[i], Role::meta_state, step.state[i]);
  }
  for (std::size_t i = 0; i < carried; ++i) {
    draft.output(draft.stage.inputs[inner_state + i].name, Role::inner_state, result.ys[2 + i]);
  }
  draft.output("outer_loss", Role::result, result.outer_mean);
  draft.output("inner_loss", Role::result, result.inner_mean);
  draft.output("meta_grad_norm", Role::result, step.grad_norm);
  return draft.finish();
}

Stage StageBuilder::grad() const {
  Draft draft;
  const Ids eta = add_eta(draft);
  const Ids theta0 = add_theta0(draft, eta);
  const Data data = add_data(draft, tasks_, config_.inner.steps, outer_);
  const MetaGradient result =
      meta_gradient(draft.b, gradient_, eta, with_hypers(draft.b, theta0, eta), data.all());
  for (std::size_t i = 0; i < eta_.size(); ++i) {
    draft.output("meta_grad." + without_eta(eta_[i].name), Role::result, result.eta_bar[i]);
  }
  const auto& parameters = model_->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    draft.output("theta_T." + parameters[i].name, Role::result, result.ys[2 + i]);
  }
  draft.output("inner_loss", Role::result, result.ys[1]);
  draft.output("outer_loss", Role::result, result.ys[0]);
  return draft.finish();
}

Stage StageBuilder::objective() const {
  Draft draft;
  const Ids eta = add_eta(draft);
  Ids consts = add_theta0(draft, eta);
  const Data data = add_data(draft, tasks_, config_.inner.steps, outer_);
  append(consts, hypers_.compute(draft.b, eta, config_.inner.steps, dtype_));
  const bool frozen = config_.inner.differentiated_steps() < config_.inner.steps;
  std::size_t shared = num_shared();
  if (frozen) {
    Ids eta_before;
    for (const EtaTensor& tensor : eta_) {
      eta_before.push_back(
          draft.input("frozen." + tensor.name, Role::frozen, {dtype_, tensor.shape}));
    }
    append(consts, hypers_.compute(draft.b, eta_before, config_.inner.steps, dtype_));
    shared += hypers_.shared().size();
  }
  const GraphPtr forward =
      frozen ? task_forward(setting_, outer_, Start::theta0, true) : gradient_.forward;
  const GraphPtr body = over_chunk(lower_grad(*forward), shared, 0, chunk_);
  const Builder::Loop loop = over_tasks(draft.b, body, consts, data.all(), tasks_, chunk_, 0);
  draft.output("outer_loss", Role::result, loop.ys[0]);
  return draft.finish();
}

Stage StageBuilder::eval(std::int64_t tasks, std::span<const std::int64_t> points,
                         Split split) const {
  Draft draft;
  const Ids eta = add_eta(draft);
  Ids consts = add_theta0(draft, eta);
  const std::int64_t steps = std::max<std::int64_t>(points.back(), 1);
  const std::vector<Type> outer = batch_types(source_, source_.outer_batch(split), dtype_);
  const bool spread = source_.one_task(split);
  const Data data = add_data(draft, tasks, steps, outer);
  append(consts, hypers_.compute(draft.b, eta, steps, dtype_));
  const std::int64_t chunk = tasks % chunk_ == 0 ? chunk_ : 1;
  const GraphPtr body =
      over_chunk(lower_grad(*task_eval(setting_, outer, points, spread)), num_shared(), 0, chunk);
  const Builder::Loop loop = over_tasks(draft.b, body, consts, data.all(), tasks, chunk, 0);
  draft.output("eval_loss", Role::result, loop.ys[0]);
  if (model_->classifies()) draft.output("eval_accuracy", Role::result, loop.ys[1]);
  if (spread) draft.output("eval_variance", Role::result, loop.ys.back());
  return draft.finish();
}

std::int64_t StageBuilder::eval_flop(std::span<const std::int64_t> points) const {
  return dot_flop(*eval(1, points, Split::test).graph);
}

Stage StageBuilder::state_eval(Split split) const {
  Draft draft;
  Ids own;
  for (const Parameter& parameter : model_->parameters()) {
    own.push_back(draft.input(carried_theta_name(parameter.name), Role::inner_state,
                              stacked({dtype_, parameter.shape}, tasks_)));
  }
  const std::vector<Type> outer = batch_types(source_, source_.outer_batch(split), dtype_);
  append(own, add_data(draft, tasks_, 1, outer).outer);
  const GraphPtr body = over_chunk(task_outer_loss(setting_, outer), 0, 0, chunk_);
  const Builder::Loop loop = over_tasks(draft.b, body, {}, own, tasks_, chunk_, 0);
  draft.output("state_loss", Role::result, loop.ys[0]);
  return draft.finish();
}

// Dots of one meta-step in mixed mode, nothing recomputed and nothing dead: the gradient of L and
// its derivative along a tangent of theta in each step that the window holds (only the gradient
// elsewhere), and the gradient of V. The first of these steps has the derivative with respect to
// eta only, unless its theta is a meta-parameter. Of a model that keeps everything and computes
// nothing by blocks: what blocks recompute is no work of the model, the keys that they skip count
// as read. Steps that keep what their gradients computed have less to do than this.
std::int64_t StageBuilder::model_flop() const {
  Config kept = config_;
  kept.gradient.remat.block = false;
  kept.gradient.remat.policy = {};
  kept.gradient.blocks = {.attention = -1, .feed_forward = -1, .cross_entropy = -1};
  const std::unique_ptr<const Model> model = make_model_for(kept, source_);
  const std::optional<ScoreNetwork> scorer = make_scorer(kept);
  const Unroll keeping(kept, *model, scorer ? &*scorer : nullptr, hypers_, inner_data_, dtype_);
  const Graph& loss = *keeping.inner_loss();
  const std::size_t tensors = model->parameters().size();
  Mask theta(loss.inputs.size(), false);
  std::fill_n(theta.begin(), tensors, true);
  Mask active = theta;  // what L reads of eta
  for (std::size_t i = 0; i < hypers_.loss_sources().size(); ++i) active[tensors + i] = true;
  const std::int64_t gradient = dot_flop(*clean(*vjp(loss, theta, {true}).graph));

  Builder b;
  Ids inputs;
  for (const Parameter& parameter : model->parameters()) {
    inputs.push_back(b.input({dtype_, parameter.shape}));
  }
  for (const Type& type : outer_) inputs.push_back(b.input(type));
  const std::span<const Id> all(inputs);
  const GraphPtr outer = b.finish({model->loss(b, all.first(tensors), all.subspan(tensors))});
  Mask outer_active(outer->inputs.size(), false);
  std::fill_n(outer_active.begin(), tensors, true);
  const std::int64_t outer_gradient = dot_flop(*clean(*vjp(*outer, outer_active, {true}).graph));

  const std::int64_t steps = config_.inner.steps;
  std::int64_t differentiated = config_.inner.differentiated_steps();
  if (config_.gradient.mode == Mode::first_order) differentiated = 0;
  std::int64_t unroll = checked_product("FLOPs", {steps, gradient});
  if (differentiated > 0) {
    Mask first = active;
    if (!meta_init() || differentiated < steps) std::fill_n(first.begin(), tensors, false);
    const std::int64_t second = second_order_flop(loss, active, theta, active);
    const std::int64_t second_of_first = second_order_flop(loss, active, theta, first);
    unroll = checked_sum("FLOPs", unroll, checked_product("FLOPs", {differentiated - 1, second}));
    unroll = checked_sum("FLOPs", unroll, second_of_first);
  }
  return checked_product("FLOPs", {tasks_, checked_sum("FLOPs", unroll, outer_gradient)});
}

}  // namespace mixflow
