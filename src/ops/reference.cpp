#include "ops/reference.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <string>
#include <utility>

#include "graph/op.h"
#include "ops/op_list.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

using Tensors = std::vector<Tensor64>;

// Iteration i of a stack.
Tensor64 slice_of(const Tensor64& stack, std::int64_t i, std::int64_t n) {
  const auto size = static_cast<std::ptrdiff_t>(stack.size()) / n;
  return {stack.begin() + i * size, stack.begin() + (i + 1) * size};
}

void store_slice(const Tensor64& value, std::int64_t i, Tensor64& stack) {
  std::ranges::copy(value, stack.begin() + i * std::ssize(value));
}

// The inputs of a loop by group (consts | carry or sums | xs), and the results while they are made.
struct LoopState {
  const Region& region;
  Tensors consts, carry, xs, ys;

  LoopState(const Graph& graph, const Node& node, Tensors in) : region(*region_of(node)) {
    const auto first_carry = in.begin() + region.num_consts;
    const auto first_x = first_carry + region.num_carry;
    consts.assign(std::make_move_iterator(in.begin()), std::make_move_iterator(first_carry));
    carry.assign(std::make_move_iterator(first_carry), std::make_move_iterator(first_x));
    xs.assign(std::make_move_iterator(first_x), std::make_move_iterator(in.end()));
    for (std::size_t y = carry.size(); y < node.out.size(); ++y) {
      ys.emplace_back(index(graph.type(node.out[y]).elements()));
    }
  }

  // The body's outputs in iteration i; a scan's body reads the carry, a map's does not.
  Tensors run_body(std::int64_t i, bool reads_carry) const {
    Tensors in = consts;
    if (reads_carry) in.insert(in.end(), carry.begin(), carry.end());
    for (const Tensor64& x : xs) in.push_back(slice_of(x, i, region.n));
    return evaluate(*region.body, in);
  }

  void store_ys(const Tensors& out, std::int64_t i) {
    for (std::size_t y = 0; y < ys.size(); ++y) store_slice(out[carry.size() + y], i, ys[y]);
  }

  Tensors results() && {
    Tensors out = std::move(carry);
    std::ranges::move(ys, std::back_inserter(out));
    return out;
  }
};

Tensors run_scan(const Graph& graph, const Node& node, Tensors in) {
  LoopState loop(graph, node, std::move(in));
  const std::int64_t n = loop.region.n;
  for (std::int64_t step = 0; step < n; ++step) {
    const std::int64_t i = loop.region.reverse ? n - 1 - step : step;
    Tensors out = loop.run_body(i, true);
    loop.store_ys(out, i);
    std::move(out.begin(), out.begin() + loop.region.num_carry, loop.carry.begin());
  }
  return std::move(loop).results();
}

Tensors run_map(const Graph& graph, const Node& node, Tensors in) {
  LoopState loop(graph, node, std::move(in));
  for (std::int64_t i = 0; i < loop.region.n; ++i) {
    const Tensors out = loop.run_body(i, false);
    loop.store_ys(out, i);
    for (std::size_t s = 0; s < loop.carry.size(); ++s) {
      std::ranges::transform(loop.carry[s], out[s], loop.carry[s].begin(), std::plus<>());
    }
  }
  return std::move(loop).results();
}

Tensors run_structural(const Graph& graph, const Node& node, Tensors in) {
  if (node.op == &op::k_scan) return run_scan(graph, node, std::move(in));
  if (node.op == &op::k_map) return run_map(graph, node, std::move(in));
  MIXFLOW_CHECK(node.op == &op::k_fused,
                "[" + std::string(node.op->name) + "] cannot be evaluated: lower_grad comes first");
  return evaluate(*region_of(node)->body, in);
}

}  // namespace

void run_reference(const Graph& graph, const Node& node, std::span<const double* const> in,
                   double* out) {
  std::vector<Type> types;
  for (const Id id : node.in) types.push_back(graph.type(id));
  node.op->ref({types, in, graph.type(node.out[0]), out, node.attrs});
}

std::vector<Tensor64> evaluate(const Graph& graph, const std::vector<Tensor64>& inputs) {
  MIXFLOW_CHECK(inputs.size() == graph.inputs.size(), "evaluate: " + std::to_string(inputs.size()) +
                                                          " inputs for a graph with " +
                                                          std::to_string(graph.inputs.size()));
  Tensors values(graph.values.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Type& type = graph.type(graph.inputs[i]);
    MIXFLOW_CHECK(std::ssize(inputs[i]) == type.elements(),
                  "evaluate: input " + std::to_string(i) + " has " +
                      std::to_string(inputs[i].size()) + " elements, expected " + to_string(type));
    values[index(graph.inputs[i])] = inputs[i];
  }
  for (const Node& node : graph.nodes) {
    if (region_of(node) != nullptr) {
      Tensors in;
      for (const Id id : node.in) in.push_back(values[index(id)]);
      Tensors out = run_structural(graph, node, std::move(in));
      for (std::size_t i = 0; i < out.size(); ++i) values[index(node.out[i])] = std::move(out[i]);
      continue;
    }
    std::vector<const double*> in;
    for (const Id id : node.in) in.push_back(values[index(id)].data());
    Tensor64& out = values[index(node.out[0])];
    out.resize(index(graph.type(node.out[0]).elements()));
    run_reference(graph, node, in, out.data());
  }
  Tensors outputs;
  for (const Id id : graph.outputs) outputs.push_back(values[index(id)]);
  return outputs;
}

}  // namespace mixflow
