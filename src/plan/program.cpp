#include "plan/program.h"

#include "graph/verify.h"
#include "ops/op_list.h"
#include "transform/fuse.h"
#include "transform/inline_loops.h"
#include "transform/lower_map.h"
#include "transform/merge_dots.h"
#include "transform/merge_maps.h"
#include "transform/move_scales.h"
#include "transform/pack_factors.h"
#include "transform/thin_dots.h"
#include "transform/transform.h"
#include "util/error.h"

namespace mixflow {
namespace {

void checked(const GraphPtr& graph) {
#ifdef MIXFLOW_CHECKED
  verify(*graph);
#else
  static_cast<void>(graph);
#endif
}

}  // namespace

GraphPtr optimize(const GraphPtr& graph, const PlanOptions& options) {
  GraphPtr g = graph;
  const auto pass = [&](auto&& function) {
    g = function(*g);
    checked(g);
  };
  pass(lower_grad);  // gradients of the inner losses become graphs
  pass(clean);       // dead code, trivial algebra, equal nodes
  pass(merge_maps);  // a value's map and its gradient's become one
  pass(lower_map);   // maps become parallel scans over their sums
  if (options.inline_loops) {
    pass(inline_loops);  // short loops over few values become part of the body around them
    pass(clean);         // what is equal or constant there
  }
  pass(move_scales);  // numbers multiply the smaller factors of products
  if (!options.bf16)
    pass(thin_dots);  // products with a side of one become elementwise ops and sums
  pass(merge_dots);   // sums of products become one product list, accumulating where it can
  if (options.bf16) pass(pack_factors);  // what several products read packed is packed once
  pass(fuse);  // elementwise chains, broadcasts and row reductions become single nodes
  pass(dce);
  return g;
}

ProgramPtr compile(const GraphPtr& graph, const std::vector<Donation>& donations,
                   const PlanOptions& options) {
  MIXFLOW_CHECK(graph != nullptr, "a stage that was not built cannot be compiled");
  auto program = std::make_shared<Program>();
  program->graph = optimize(graph, options);
  program->donations = donations;
  program->options = options;
  const Graph& g = *program->graph;
  const std::vector<InputContract> inputs(g.inputs.size());
  std::vector<OutputContract> outputs(g.outputs.size());
  for (const Donation& d : donations) {
    MIXFLOW_CHECK(g.type(g.inputs[static_cast<std::size_t>(d.input)]) ==
                      g.type(g.outputs[static_cast<std::size_t>(d.output)]),
                  "a donated input and its output differ in type");
    outputs[static_cast<std::size_t>(d.output)].in_place_of = d.input;
  }
  program->body = plan_body(program->graph, inputs, outputs, options);
  for (const Id in : g.inputs) program->static_bytes += g.type(in).bytes();
  for (std::size_t k = 0; k < g.outputs.size(); ++k) {
    if (outputs[k].in_place_of < 0) program->result_bytes += aligned(g.type(g.outputs[k]).bytes());
  }
  program->workspace_bytes = program->body->workspace_bytes;
  program->dynamic_bytes = program->result_bytes + program->workspace_bytes;
  program->flop = program->body->flop;
  program->nodes = count_nodes(g);
  return program;
}

}  // namespace mixflow
