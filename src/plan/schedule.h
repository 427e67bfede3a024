// Orders of execution for one body. Which one needs less memory is found by planning both.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/graph.h"

namespace mixflow {

enum class Order : std::uint8_t {
  trace,   // as the graph was built
  greedy,  // at each point the ready node that frees most and allocates least
};

// Indices of graph.nodes, each after the nodes it reads from. Deterministic.
std::vector<std::int32_t> schedule(const Graph& graph, Order order);

}  // namespace mixflow
