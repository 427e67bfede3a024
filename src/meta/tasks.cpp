#include "meta/tasks.h"

#include "util/error.h"

namespace mixflow {
namespace {

struct Inputs {
  Ids shared;
  Ids frozen;
  Unroll::State from;
  Ids inner;
  Ids outer;
};

Ids add_shared(Builder& b, const TaskSetting& setting, std::int64_t steps) {
  Ids shared;
  for (std::size_t i = 0; i < setting.hypers.shared().size(); ++i) {
    shared.push_back(b.input(setting.hypers.type(i, steps, setting.dtype)));
  }
  return shared;
}

Ids add_theta(Builder& b, const TaskSetting& setting) {
  Ids theta;
  for (const Parameter& parameter : setting.model.parameters()) {
    theta.push_back(b.input({setting.dtype, parameter.shape}, parameter.name));
  }
  return theta;
}

void add_data(Builder& b, const TaskSetting& setting, std::span<const Type> outer,
              std::int64_t steps, Inputs& in) {
  for (std::size_t i = 0; i < setting.inner_data.batch.size(); ++i) {
    in.inner.push_back(b.input(setting.inner_data.unrolled(i, steps)));
  }
  for (const Type& type : outer) in.outer.push_back(b.input(type));
}

Inputs add_inputs(Builder& b, const TaskSetting& setting, std::span<const Type> outer,
                  std::int64_t steps, bool frozen = false) {
  Inputs in;
  in.from = setting.unroll.start(b, add_theta(b, setting));
  in.shared = add_shared(b, setting, steps);
  in.frozen = frozen ? add_shared(b, setting, steps) : in.shared;
  add_data(b, setting, outer, steps, in);
  return in;
}

Inputs add_carried_inputs(Builder& b, const TaskSetting& setting, std::span<const Type> outer) {
  const std::int64_t steps = setting.config.inner.steps;
  Inputs in;
  in.shared = add_shared(b, setting, steps);
  in.frozen = in.shared;
  in.from.theta = add_theta(b, setting);
  const OptimizerKind kind = setting.config.inner.optimizer.kind;
  for (const Id theta : in.from.theta) {
    const Type type = b.type(theta);
    for (std::size_t k = 0; k < opt_state_names(kind).size(); ++k) {
      in.from.opt_state.push_back(b.input(type));
    }
  }
  add_data(b, setting, outer, steps, in);
  return in;
}

// Scalars as one vector.
Id stack_scalars(Builder& b, std::span<const Id> scalars) {
  Ids parts;
  for (const Id x : scalars) parts.push_back(b.reshape(x, {1}));
  return b.concat(parts, 0);
}

Shape with_leading(Shape shape, std::int64_t n) {
  shape.insert(shape.begin(), n);
  return shape;
}

Shape without_leading(Shape shape) {
  shape.erase(shape.begin());
  return shape;
}

}  // namespace

GraphPtr task_forward(const TaskSetting& setting, std::span<const Type> outer, Start start,
                      bool frozen) {
  Builder b;
  const bool carried = start == Start::carried;
  MIXFLOW_CHECK(!(carried && frozen), "a carried state is frozen already");
  const Inputs in = carried ? add_carried_inputs(b, setting, outer)
                            : add_inputs(b, setting, outer, setting.config.inner.steps, frozen);
  const Unroll::Steps steps = setting.unroll.run_all(b, in.from, in.shared, in.frozen, in.inner);
  const auto& [theta, opt_state] = steps.state;
  Ids outputs{setting.unroll.outer_loss(b, theta, in.outer), steps.losses};
  outputs.insert(outputs.end(), theta.begin(), theta.end());
  if (carried) outputs.insert(outputs.end(), opt_state.begin(), opt_state.end());
  return b.finish(std::move(outputs));
}

GraphPtr task_outer_loss(const TaskSetting& setting, std::span<const Type> outer) {
  Builder b;
  const Ids theta = add_theta(b, setting);
  Ids fields;
  for (const Type& type : outer) fields.push_back(b.input(type));
  return b.finish({setting.unroll.outer_loss(b, theta, fields)});
}

GraphPtr task_eval(const TaskSetting& setting, std::span<const Type> outer,
                   std::span<const std::int64_t> points, bool spread) {
  Builder b;
  const std::int64_t steps = std::max<std::int64_t>(points.back(), 1);
  const Inputs in = add_inputs(b, setting, outer, steps);
  Unroll::State state = in.from;
  Ids losses;
  Ids accuracies;
  Ids variances;
  std::int64_t done = 0;
  for (const std::int64_t point : points) {
    if (point > done) {
      Builder::Scope scope(b, "unroll");
      state = setting.unroll.run(b, state, in.shared, in.inner, done, point - done).state;
      done = point;
    }
    losses.push_back(setting.unroll.outer_loss(b, state.theta, in.outer));
    if (setting.model.classifies()) {
      Builder::Scope scope(b, "accuracy");
      accuracies.push_back(setting.model.accuracy(b, state.theta, in.outer));
    }
    if (spread) {
      Builder::Scope scope(b, "spread");
      const Id examples = setting.model.example_losses(b, state.theta, in.outer);
      variances.push_back(b.mean_all(b.square(b.sub(examples, b.mean_all(examples)))));
    }
  }
  Ids outputs{stack_scalars(b, losses)};
  if (!accuracies.empty()) outputs.push_back(stack_scalars(b, accuracies));
  if (!variances.empty()) outputs.push_back(stack_scalars(b, variances));
  return b.finish(std::move(outputs));
}

TaskGradient task_gradient(const Graph& forward, const Mask& active, Mode mode) {
  const GraphPtr lowered = mode == Mode::reverse ? lower_grad(forward) : nullptr;
  Mask outputs(forward.outputs.size(), false);
  outputs[0] = true;
  VjpResult result = vjp(lowered ? *lowered : forward, active, outputs, true);
  return {clean(*lower_grad(*result.graph)), std::move(result.in_nonzero)};
}

GraphPtr over_chunk(GraphPtr graph, std::size_t shared, std::size_t trailing, std::int64_t chunk) {
  if (chunk == 1) return graph;
  Mask batched(graph->inputs.size(), false);
  for (std::size_t i = shared; i + trailing < batched.size(); ++i) batched[i] = true;
  return clean(*vmap(*graph, batched, chunk));
}

Builder::Loop over_tasks(Builder& b, const GraphPtr& body, std::span<const Id> consts,
                         std::span<const Id> data, std::int64_t n, std::int64_t chunk, int sums) {
  MIXFLOW_CHECK(chunk > 0 && n % chunk == 0, "chunks must divide the tasks");
  const std::int64_t iterations = n / chunk;
  Builder::Loop loop;
  if (iterations == 1) {
    Ids args(consts.begin(), consts.end());
    for (const Id x : data) {
      args.push_back(chunk == 1 ? b.reshape(x, without_leading(b.shape(x))) : x);
    }
    const Ids outputs = b.inline_graph(*body, args);
    loop.carry.assign(outputs.begin(), outputs.begin() + sums);
    for (std::size_t i = static_cast<std::size_t>(sums); i < outputs.size(); ++i) {
      const Id y = outputs[i];
      loop.ys.push_back(chunk == 1 ? b.reshape(y, with_leading(b.shape(y), 1)) : y);
    }
    return loop;
  }
  Ids xs;
  for (const Id x : data) {
    const Shape chunked =
        with_leading(with_leading(without_leading(b.shape(x)), chunk), iterations);
    xs.push_back(chunk == 1 ? x : b.reshape(x, chunked));
  }
  loop = b.map(body, consts, xs, iterations, sums);
  if (chunk == 1) return loop;
  for (Id& y : loop.ys) {
    y = b.reshape(y, with_leading(without_leading(without_leading(b.shape(y))), n));
  }
  return loop;
}

}  // namespace mixflow
