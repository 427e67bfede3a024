#include "graph/verify.h"

#include <unordered_set>

#include "graph/infer_region.h"
#include "graph/op.h"
#include "util/error.h"

namespace mixflow {
namespace {

std::string describe(const Graph& graph, const Node& node) {
  const std::size_t position = static_cast<std::size_t>(&node - graph.nodes.data());
  std::string text = "node " + std::to_string(position);
  if (node.op != nullptr) text += " (" + std::string(node.op->name) + ")";
  if (!node.out.empty()) text += " making %" + std::to_string(node.out[0]);
  return text + (node.label.empty() ? "" : ", from " + node.label) + ": ";
}

class Verifier {
 public:
  void run(const Graph& graph) {
    if (!done_.insert(&graph).second) return;
    // A value is defined once it is an input or an output of a node already walked.
    std::vector<bool> defined(graph.values.size(), false);
    const auto exists = [&](Id id) {
      return id >= 0 && static_cast<std::size_t>(id) < graph.values.size();
    };
    const auto define = [&](Id id, std::int32_t node, std::size_t position,
                            const std::string& who) {
      MIXFLOW_CHECK(exists(id), who + "defines a value that does not exist");
      const auto i = static_cast<std::size_t>(id);
      MIXFLOW_CHECK(!defined[i], who + "%" + std::to_string(id) + " is defined twice");
      defined[i] = true;
      const Value& value = graph.values[i];
      MIXFLOW_CHECK(value.node == node && value.index == static_cast<std::int32_t>(position),
                    who + "%" + std::to_string(id) + " does not point back at its definition");
      for (std::int64_t size : value.type.shape) {
        MIXFLOW_CHECK(size >= 0, who + "a negative size in " + to_string(value.type));
      }
    };
    for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
      define(graph.inputs[i], -1, i, "input " + std::to_string(i) + ": ");
    }
    for (std::size_t n = 0; n < graph.nodes.size(); ++n) {
      const Node& node = graph.nodes[n];
      const std::string who = describe(graph, node);
      MIXFLOW_CHECK(node.op != nullptr, who + "has no op");
      for (Id id : node.in) {
        MIXFLOW_CHECK(exists(id) && defined[static_cast<std::size_t>(id)],
                      who + "reads %" + std::to_string(id) + " before it is defined");
      }
      check_types(graph, node, who);
      for (std::size_t i = 0; i < node.out.size(); ++i) {
        define(node.out[i], static_cast<std::int32_t>(n), i, who);
      }
    }
    for (std::size_t i = 0; i < graph.values.size(); ++i) {
      MIXFLOW_CHECK(defined[i], "%" + std::to_string(i) + " is defined by nothing");
    }
    for (Id id : graph.outputs) {
      MIXFLOW_CHECK(exists(id), "an output of the graph does not exist");
    }
  }

 private:
  void check_types(const Graph& graph, const Node& node, const std::string& who) {
    const OpDef& op = *node.op;
    std::vector<Type> in;
    for (Id id : node.in) in.push_back(graph.type(id));
    std::vector<Type> expected;
    if (has_deriv<Structural>(op) && node.attrs.region) {
      const Region& region = *node.attrs.region;
      MIXFLOW_CHECK(region.body != nullptr, who + "its region has no body");
      run(*region.body);
      expected = infer_region(op.name, in, region);
    } else {
      MIXFLOW_CHECK(op.infer != nullptr, who + "has neither a region nor a shape rule");
      MIXFLOW_CHECK(op.arity < 0 || static_cast<std::size_t>(op.arity) == in.size(),
                    who + "has " + std::to_string(in.size()) + " inputs");
      expected = {op.infer(in, node.attrs)};
    }
    MIXFLOW_CHECK(node.out.size() == expected.size(),
                  who + "has " + std::to_string(node.out.size()) + " outputs, its rule gives " +
                      std::to_string(expected.size()));
    for (std::size_t i = 0; i < expected.size(); ++i) {
      MIXFLOW_CHECK(static_cast<std::size_t>(node.out[i]) < graph.values.size() &&
                        graph.type(node.out[i]) == expected[i],
                    who + "output " + std::to_string(i) + " is not " + to_string(expected[i]));
    }
  }

  std::unordered_set<const Graph*> done_;  // bodies are shared between nodes
};

}  // namespace

void verify(const Graph& graph) { Verifier().run(graph); }

}  // namespace mixflow
