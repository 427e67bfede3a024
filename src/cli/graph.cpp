#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "data/source.h"
#include "graph/print.h"
#include "meta/experiment.h"
#include "plan/program.h"
#include "train/baseline.h"
#include "train/planned.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

GraphPtr inner_gradient(const Experiment& experiment) {
  const Graph& loss = *experiment.inner_loss;
  Mask active;
  for (const Id in : loss.inputs) active.push_back(is_float(loss.type(in).dtype));
  return clean(*vjp(loss, active, {true}).graph);
}

GraphPtr graph_of(const GraphCommand& o, const Config& config, const Experiment& experiment) {
  if (o.stage == "loss") return experiment.inner_loss;
  if (o.stage == "inner-grad") return inner_gradient(experiment);
  if (o.stage == "meta-grad") return experiment.grad.graph;
  return optimize(experiment.train.graph, plan_options(config, threads_of(config)));
}

}  // namespace

int run(const GraphCommand& o) {
  const Config config = load(o);
  const std::unique_ptr<DataSchema> source = make_schema(config);
  const Experiment experiment = build_experiment(config, *source, compute_type(config));
  const GraphPtr graph = graph_of(o, config, experiment);
  const std::string text = o.format == "dot" ? to_dot(*graph) : to_text(*graph);
  if (o.json) {
    const nlohmann::ordered_json json = {
        {"stage", o.stage}, {"format", o.format}, {"nodes", count_nodes(*graph)}, {"graph", text}};
    std::printf("%s\n", json.dump(2).c_str());
  } else {
    std::fputs(text.c_str(), stdout);
  }
  return 0;
}

}  // namespace mixflow
