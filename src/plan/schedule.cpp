#include "plan/schedule.h"

#include <numeric>

#include "graph/op.h"

namespace mixflow {
namespace {

// The value whose bytes `id` is: views are followed to what they look at.
Id viewed(const Graph& graph, Id id) {
  for (const Node* node = graph.producer(id); node && node->op->view; node = graph.producer(id)) {
    id = node->in[0];
  }
  return id;
}

std::vector<std::int32_t> greedy(const Graph& graph) {
  const std::size_t count = graph.nodes.size();
  std::vector<std::int32_t> missing(count, 0);  // producers that have not run
  std::vector<std::vector<std::int32_t>> readers(graph.values.size());
  std::vector<std::int32_t> reads_left(graph.values.size(), 0);
  const auto at = [](auto& v, auto i) -> auto& { return v[static_cast<std::size_t>(i)]; };
  const auto distinct_roots = [&](const Node& node) {
    std::vector<Id> roots;
    for (const Id in : node.in) {
      const Id root = viewed(graph, in);
      bool known = false;
      for (const Id r : roots) known = known || r == root;
      if (!known) roots.push_back(root);
    }
    return roots;
  };
  std::vector<std::vector<Id>> roots(count);
  for (std::size_t i = 0; i < count; ++i) {
    roots[i] = distinct_roots(graph.nodes[i]);
    for (const Id root : roots[i]) ++at(reads_left, root);
    for (const Id in : graph.nodes[i].in) {
      if (graph.values[static_cast<std::size_t>(in)].node >= 0) {
        at(readers, in).push_back(static_cast<std::int32_t>(i));
        ++missing[i];
      }
    }
  }
  for (const Id out : graph.outputs) ++at(reads_left, viewed(graph, out));

  const auto growth = [&](std::size_t i) {
    const Node& node = graph.nodes[i];
    std::int64_t bytes = 0;
    if (!node.op->view) {
      for (const Id out : node.out) bytes += graph.type(out).bytes();
    }
    for (const Id root : roots[i]) {
      const bool owned = graph.values[static_cast<std::size_t>(root)].node >= 0;
      if (owned && at(reads_left, root) == 1) bytes -= graph.type(root).bytes();
    }
    return bytes;
  };

  std::vector<std::int32_t> order;
  std::vector<bool> done(count, false);
  std::vector<std::int32_t> ready;
  for (std::size_t i = 0; i < count; ++i) {
    if (missing[i] == 0) ready.push_back(static_cast<std::int32_t>(i));
  }
  while (!ready.empty()) {
    std::size_t best = 0;
    std::int64_t best_growth = growth(static_cast<std::size_t>(ready[0]));
    for (std::size_t r = 1; r < ready.size(); ++r) {
      const std::int64_t g = growth(static_cast<std::size_t>(ready[r]));
      if (g < best_growth || (g == best_growth && ready[r] < ready[best])) {
        best = r;
        best_growth = g;
      }
    }
    const std::int32_t chosen = ready[best];
    ready.erase(ready.begin() + static_cast<std::ptrdiff_t>(best));
    order.push_back(chosen);
    for (const Id root : roots[static_cast<std::size_t>(chosen)]) --at(reads_left, root);
    for (const Id out : graph.nodes[static_cast<std::size_t>(chosen)].out) {
      for (const std::int32_t reader : at(readers, out)) {
        if (--at(missing, reader) == 0) ready.push_back(reader);
      }
    }
  }
  return order;
}

}  // namespace

std::vector<std::int32_t> schedule(const Graph& graph, Order order) {
  if (order == Order::greedy) return greedy(graph);
  std::vector<std::int32_t> all(graph.nodes.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

}  // namespace mixflow
