#include "graph/print.h"

#include <sstream>

#include "graph/op.h"

namespace mixflow {
namespace {

std::string number(double value) {
  std::ostringstream text;
  text.precision(9);
  text << value;
  return text.str();
}

std::string keep_text(Policy::Keep keep, const Policy& policy) {
  switch (keep) {
    case Policy::Keep::carries:
      return "carries";
    case Policy::Keep::dots:
      return "dots";
    case Policy::Keep::all:
      return "all";
    case Policy::Keep::names:
      break;
  }
  std::string text;
  for (const std::string& name : policy.names) text += (text.empty() ? "" : "+") + name;
  return "names:" + text;
}

// What a loop keeps; behind a slash, what in gradients that are differentiated again.
std::string policy_text(const Policy& policy) {
  std::string text = keep_text(policy.keep, policy);
  if (policy.differentiated) text += "/" + keep_text(*policy.differentiated, policy);
  return text;
}

void append(std::string& list, const std::string& item) {
  if (!list.empty()) list += ", ";
  list += item;
}

std::string region_text(const OpDef& op, const Region& region) {
  std::string text;
  if (op.name == "scan" || op.name == "map") append(text, "n=" + std::to_string(region.n));
  // Maps keep nothing unless told to.
  if (op.name == "scan" ||
      (op.name == "map" && region.policy != Policy{Policy::Keep::carries, {}})) {
    append(text, "keep=" + policy_text(region.policy));
  }
  if (region.reverse) append(text, "reverse");
  if (region.parallel) append(text, "parallel");
  if (op.name == "grad") {
    append(text, region.grad_mode == GradMode::mixed ? "mixed" : "first_order");
  }
  return text;
}

// The attributes that the result's type does not already tell.
std::string attrs_text(const Node& node) {
  const Attrs& attrs = node.attrs;
  if (attrs.region) return region_text(*node.op, *attrs.region);
  std::string text;
  if (!attrs.name.empty()) append(text, "\"" + attrs.name + "\"");
  if (!attrs.starts.empty()) append(text, "starts=" + to_string(attrs.starts));
  if (!attrs.axes.empty()) append(text, "axes=" + to_string(attrs.axes));
  if (attrs.trans_a) append(text, "trans_a");
  if (attrs.trans_b) append(text, "trans_b");
  if (attrs.value != 0 || node.op->name == "full") append(text, number(attrs.value));
  return text;
}

std::string id_text(Id id) { return "%" + std::to_string(id); }

std::string typed(const Graph& graph, Id id) {
  return id_text(id) + ": " + to_string(graph.type(id));
}

// A bar stands where a structural op's next group of inputs begins.
bool starts_group(const Node& node, std::size_t i) {
  const Region* region = region_of(node);
  if (region == nullptr || i == 0) return false;
  const auto first = static_cast<std::size_t>(region->num_consts);
  return i == first || i == first + static_cast<std::size_t>(region->num_carry);
}

std::string inputs_text(const Node& node) {
  std::string text;
  for (std::size_t i = 0; i < node.in.size(); ++i) {
    if (i > 0) text += starts_group(node, i) ? " | " : ", ";
    text += id_text(node.in[i]);
  }
  return text;
}

void print(const Graph& graph, const std::string& indent, std::string& text) {
  text += indent + "(";
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    const std::string& name = graph.values[static_cast<std::size_t>(graph.inputs[i])].name;
    if (i > 0) text += ", ";
    text += typed(graph, graph.inputs[i]) + (name.empty() ? "" : " " + name);
  }
  text += ")\n";
  for (const Node& node : graph.nodes) {
    std::string line;
    for (Id id : node.out) append(line, typed(graph, id));
    line += " = " + std::string(node.op->name) + "(" + inputs_text(node) + ")";
    if (const std::string attrs = attrs_text(node); !attrs.empty()) line += " {" + attrs + "}";
    if (!node.label.empty()) line += "  # " + node.label;
    text += indent + line + "\n";
    if (const Region* region = region_of(node)) print(*region->body, indent + "    ", text);
  }
  text += indent + "return";
  for (std::size_t i = 0; i < graph.outputs.size(); ++i) {
    text += (i == 0 ? " " : ", ") + id_text(graph.outputs[i]);
  }
  text += "\n";
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result + "\"";
}

// Names of dot nodes must be unique over all bodies: `prefix` is the path of node indices.
void print_dot(const Graph& graph, const std::string& prefix, const std::string& indent,
               std::string& text) {
  const auto value_name = [&](Id id) {
    const Value& value = graph.values[static_cast<std::size_t>(id)];
    return value.node < 0 ? quoted(prefix + "in" + std::to_string(value.index))
                          : quoted(prefix + std::to_string(value.node));
  };
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    const Id id = graph.inputs[i];
    const std::string& name = graph.values[static_cast<std::size_t>(id)].name;
    const std::string label =
        (name.empty() ? "input " + std::to_string(i) : name) + "  " + to_string(graph.type(id));
    text += indent + value_name(id) + " [shape=box, label=" + quoted(label) + "];\n";
  }
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    const std::string self = prefix + std::to_string(i);
    std::string label(node.op->name);
    if (const std::string attrs = attrs_text(node); !attrs.empty()) label += " {" + attrs + "}";
    for (Id id : node.out) label += "  " + to_string(graph.type(id));
    text += indent + quoted(self) + " [label=" + quoted(label) + "];\n";
    for (Id id : node.in) text += indent + value_name(id) + " -> " + quoted(self) + ";\n";
    if (const Region* region = region_of(node)) {
      text += indent + "subgraph " + quoted("cluster_" + self) + " {\n";
      text += indent + "  label=" + quoted("body of " + label) + ";\n";
      print_dot(*region->body, self + ".", indent + "  ", text);
      text += indent + "}\n";
    }
  }
  for (std::size_t i = 0; i < graph.outputs.size(); ++i) {
    const std::string self = quoted(prefix + "out" + std::to_string(i));
    text += indent + self + " [shape=box, label=" + quoted("output " + std::to_string(i)) + "];\n";
    text += indent + value_name(graph.outputs[i]) + " -> " + self + ";\n";
  }
}

}  // namespace

std::string to_text(const Graph& graph) {
  std::string text;
  print(graph, "", text);
  return text;
}

std::string to_dot(const Graph& graph) {
  std::string text = "digraph {\n  node [shape=ellipse, fontsize=10];\n";
  print_dot(graph, "", "  ", text);
  return text + "}\n";
}

}  // namespace mixflow
