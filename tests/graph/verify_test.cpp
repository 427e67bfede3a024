#include "graph/verify.h"

#include <doctest/doctest.h>

#include "graph/toy_ops.h"

using namespace mixflow;

namespace {

std::string complaint(const Graph& graph) {
  try {
    verify(graph);
  } catch (const InternalError& error) {
    return error.what();
  }
  return "";
}

bool mentions(const Graph& graph, const char* words) {
  return complaint(graph).find(words) != std::string::npos;
}

// a + b, then + b
Graph two_sums() {
  Graph graph;
  const Type type{DType::f32, {2}};
  const Id a = toy::add_input(graph, type);
  const Id b = toy::add_input(graph, type);
  const Id c = toy::add_node(graph, toy::kAdd, {a, b}, {type})[0];
  graph.outputs = {toy::add_node(graph, toy::kAdd, {c, b}, {type})[0]};
  return graph;
}

}  // namespace

TEST_CASE("well-formed graphs pass, with and without bodies") {
  CHECK(complaint(two_sums()).empty());
  CHECK(complaint(toy::prefix_sums(4)).empty());
}

TEST_CASE("a value read before its definition is found") {
  Graph graph = two_sums();
  std::swap(graph.nodes[0].in[0], graph.nodes[1].in[0]);
  CHECK(mentions(graph, "reads %2 before it is defined"));
  graph.nodes[0].in[0] = 99;
  CHECK(mentions(graph, "reads %99"));
}

TEST_CASE("a value defined twice, or by nothing, is found") {
  Graph graph = two_sums();
  graph.nodes[1].out[0] = 2;
  CHECK(mentions(graph, "defined twice"));
  graph = two_sums();
  graph.values.push_back(graph.values.back());
  CHECK(mentions(graph, "%4 is defined by nothing"));
}

TEST_CASE("a value that does not point back at its node is found") {
  Graph graph = two_sums();
  graph.values[2].node = 1;
  CHECK(mentions(graph, "does not point back"));
}

TEST_CASE("types that are not the shape rule's answer are found") {
  Graph graph = two_sums();
  graph.values[2].type.shape = {3};
  CHECK(mentions(graph, "output 0 is not f32[2]"));
  graph = two_sums();
  graph.values[0].type.shape = {3};
  CHECK(mentions(graph, "operands differ"));
  graph = toy::prefix_sums(4);
  graph.values[3].type.shape = {5, 2};
  CHECK(mentions(graph, "output 1 is not f32[4,2]"));
}

TEST_CASE("a wrong number of inputs, a missing region and a missing op are found") {
  Graph graph = two_sums();
  graph.nodes[1].in.push_back(0);
  CHECK(mentions(graph, "has 3 inputs"));
  graph = two_sums();
  graph.nodes[1].op = nullptr;
  CHECK(mentions(graph, "has no op"));
  graph = toy::prefix_sums(4);
  graph.nodes[0].attrs.region = nullptr;
  CHECK(mentions(graph, "neither a region nor a shape rule"));
}

TEST_CASE("a mistake inside a body is found") {
  Graph graph = toy::prefix_sums(4);
  auto body = std::make_shared<Graph>(*graph.nodes[0].attrs.region->body);
  body->nodes[0].in[0] = 7;
  auto region = std::make_shared<Region>(*graph.nodes[0].attrs.region);
  region->body = body;
  graph.nodes[0].attrs.region = region;
  CHECK(mentions(graph, "reads %7"));
}

TEST_CASE("an output that does not exist is found") {
  Graph graph = two_sums();
  graph.outputs.push_back(17);
  CHECK(mentions(graph, "does not exist"));
}
