#include "graph/print.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "graph/toy_ops.h"

using namespace mixflow;

TEST_CASE("text shows inputs, groups, attributes, labels, bodies and results") {
  CHECK(to_text(toy::prefix_sums(4)) ==
        "(%0: f32[2] start, %1: f32[4,2] xs)\n"
        "%2: f32[2], %3: f32[4,2] = scan(%0 | %1) {n=4, keep=names:g+h}  # sums\n"
        "    (%0: f32[2] carry, %1: f32[2] x)\n"
        "    %2: f32[2] = add(%0, %1)\n"
        "    return %2, %0\n"
        "return %2, %3\n");
}

TEST_CASE("dot has a cluster per body and balanced braces") {
  const std::string text = to_dot(toy::prefix_sums(4));
  CHECK(text.find("subgraph \"cluster_0\"") != std::string::npos);
  CHECK(text.find("\"in0\" -> \"0\";") != std::string::npos);
  CHECK(text.find("\"0.in1\" -> \"0.0\";") != std::string::npos);
  CHECK(std::ranges::count(text, '"') % 2 == 0);
  CHECK(text.starts_with("digraph {"));
}
