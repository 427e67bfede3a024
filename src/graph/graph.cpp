#include "graph/graph.h"

#include "graph/op.h"
#include "util/error.h"

namespace mixflow {

std::int64_t dtype_bytes(DType dtype) { return dtype == DType::f64 ? 8 : 4; }

std::string_view dtype_name(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return "f32";
    case DType::f64:
      return "f64";
    case DType::i32:
      return "i32";
  }
  MIXFLOW_CHECK(false, "unknown dtype");
}

std::int64_t num_elements(const Shape& shape, std::string_view name) {
  std::int64_t count = 1;
  for (std::int64_t size : shape) {
    if (!__builtin_mul_overflow(count, size, &count) && count <= kMostElements) continue;
    throw UserError((name.empty() ? "a tensor" : std::string(name)) + " of shape " +
                    to_string(shape) +
                    " is too large: expected at most 2^48 elements; lower the sizes of model, "
                    "data, inner.steps or meta.batch");
  }
  return count;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ",";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::string to_string(const Type& type) {
  return std::string(dtype_name(type.dtype)) + to_string(type.shape);
}

const Node* Graph::producer(Id id) const {
  const std::int32_t node = values[static_cast<std::size_t>(id)].node;
  return node < 0 ? nullptr : &nodes[static_cast<std::size_t>(node)];
}

std::int64_t count_nodes(const Graph& graph) {
  std::int64_t count = 0;
  for (const Node& node : graph.nodes) {
    ++count;
    if (const Region* region = region_of(node)) count += count_nodes(*region->body);
  }
  return count;
}

std::int64_t count_ops(const Graph& graph, const OpDef& op) {
  std::int64_t count = 0;
  for (const Node& node : graph.nodes) {
    if (node.op == &op) ++count;
    if (const Region* region = region_of(node)) count += count_ops(*region->body, op);
  }
  return count;
}

}  // namespace mixflow
