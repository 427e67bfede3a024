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

TEST_CASE("text shows what loops keep, and what where gradients are differentiated again") {
  using Keep = Policy::Keep;
  const OpDef map = {.name = "map", .arity = -1, .deriv = Structural{}};
  const auto text = [](const OpDef& op, const Policy& policy) {
    Graph graph = toy::prefix_sums(4);
    auto region = std::make_shared<Region>(*region_of(graph.nodes[0]));
    region->policy = policy;
    graph.nodes[0].op = &op;
    graph.nodes[0].attrs.region = std::move(region);
    const std::string all = to_text(graph);
    const std::size_t begin = all.find('{');
    return all.substr(begin, all.find('}') + 1 - begin);
  };
  const Policy carries{Keep::carries, {}}, both{Keep::dots, {}, Keep::carries};
  CHECK(text(toy::kScan, carries) == "{n=4, keep=carries}");
  CHECK(text(toy::kScan, both) == "{n=4, keep=dots/carries}");
  CHECK(text(toy::kScan, {Keep::carries, {}, Keep::dots}) == "{n=4, keep=carries/dots}");
  CHECK(text(map, carries) == "{n=4}");
  CHECK(text(map, both) == "{n=4, keep=dots/carries}");
}

TEST_CASE("dot has a cluster per body and balanced braces") {
  const std::string text = to_dot(toy::prefix_sums(4));
  CHECK(text.find("subgraph \"cluster_0\"") != std::string::npos);
  CHECK(text.find("\"in0\" -> \"0\";") != std::string::npos);
  CHECK(text.find("\"0.in1\" -> \"0.0\";") != std::string::npos);
  CHECK(std::ranges::count(text, '"') % 2 == 0);
  CHECK(text.starts_with("digraph {"));
}
