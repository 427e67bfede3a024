#include "ops/fused_lower.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <numeric>

#include "ops/builder.h"
#include "ops/sample_inputs.h"

namespace mixflow {
namespace {

using testing::describe;
using testing::draw_inputs;
using testing::for_each_sample;
using testing::run_ref;

std::shared_ptr<const Region> region_for(GraphPtr body) {
  auto region = std::make_shared<Region>();
  region->body = std::move(body);
  return region;
}

struct Fused {
  std::vector<Type> in, out;
  Attrs attrs;

  explicit Fused(GraphPtr body) {
    for (const Id id : body->inputs) in.push_back(body->type(id));
    for (const Id id : body->outputs) out.push_back(body->type(id));
    attrs.region = region_for(std::move(body));
  }
  Node node() const {
    return {.op = &op::k_fused, .in = {}, .out = {}, .attrs = attrs, .label = {}};
  }

  std::vector<Tensor64> run(const std::vector<Tensor64>& inputs, int threads = 1) const {
    const auto kernel = lower_fused({.in = in, .out = out, .attrs = attrs, .threads = threads});
    std::vector<std::vector<std::byte>> buffers;
    std::vector<const std::byte*> from;
    std::vector<std::byte*> to;
    for (std::size_t i = 0; i < in.size(); ++i) {
      buffers.emplace_back(static_cast<std::size_t>(in[i].bytes()));
      for (std::size_t k = 0; k < inputs[i].size(); ++k)
        write(buffers.back(), in[i].dtype, k, inputs[i][k]);
    }
    for (const Type& type : out) buffers.emplace_back(static_cast<std::size_t>(type.bytes()));
    for (std::size_t i = 0; i < in.size(); ++i) from.push_back(buffers[i].data());
    for (std::size_t j = 0; j < out.size(); ++j) to.push_back(buffers[in.size() + j].data());
    std::vector<std::byte> memory(static_cast<std::size_t>(kernel->scratch_bytes) + 64);
    auto address = reinterpret_cast<std::uintptr_t>(memory.data());
    kernel->run(from.data(), to.data(), memory.data() + (64 - address % 64) % 64);
    std::vector<Tensor64> results;
    for (std::size_t j = 0; j < out.size(); ++j) {
      results.emplace_back(static_cast<std::size_t>(out[j].elements()));
      for (std::size_t k = 0; k < results[j].size(); ++k)
        results[j][k] = read(buffers[in.size() + j], out[j].dtype, k);
    }
    return results;
  }

 private:
  static void write(std::vector<std::byte>& to, DType dtype, std::size_t k, double value) {
    if (dtype == DType::f32) {
      reinterpret_cast<float*>(to.data())[k] = static_cast<float>(value);
    } else {
      reinterpret_cast<std::int32_t*>(to.data())[k] = static_cast<std::int32_t>(value);
    }
  }
  static double read(const std::vector<std::byte>& from, DType dtype, std::size_t k) {
    if (dtype == DType::f32)
      return static_cast<double>(reinterpret_cast<const float*>(from.data())[k]);
    return reinterpret_cast<const std::int32_t*>(from.data())[k];
  }
};

// A body of one node, past the builder's simplifications.
GraphPtr single(const OpDef& op, const Sample& sample) {
  auto body = std::make_shared<Graph>();
  Node node{.op = &op, .in = {}, .out = {}, .attrs = sample.attrs, .label = {}};
  for (std::size_t i = 0; i < sample.in.size(); ++i) {
    body->inputs.push_back(static_cast<Id>(i));
    body->values.push_back({sample.in[i], -1, static_cast<std::int32_t>(i), {}});
    node.in.push_back(static_cast<Id>(i));
  }
  node.out.push_back(static_cast<Id>(sample.in.size()));
  body->values.push_back({op.infer(sample.in, sample.attrs), 0, 0, {}});
  body->outputs = node.out;
  body->nodes.push_back(std::move(node));
  return body;
}

bool fits(const Graph& body) {
  const std::int32_t node = 0;
  return fused_spec(body, {&node, 1}, body.inputs, body.outputs).has_value();
}

TEST_CASE("every tile op is what its reference is, on all samples") {
  int samples = 0, reductions_left = 0;
  for_each_sample([&](const OpDef& op, const Sample& sample, Rng& rng) {
    if (op.tile == TileOp::none) return;
    const Type type = op.infer(sample.in, sample.attrs);
    const bool elementwise = op.tile < TileOp::full;
    if (type.dtype != DType::f32 && !(type.dtype == DType::i32 && elementwise)) return;
    CAPTURE(describe(op, sample));
    std::vector<Tensor64> inputs = draw_inputs(sample, rng);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (sample.in[i].dtype != DType::f32) continue;
      for (double& x : inputs[i]) x = static_cast<double>(static_cast<float>(x));
    }
    const GraphPtr body = single(op, sample);
    if (!fits(*body)) {
      REQUIRE(!elementwise);  // reductions over axes that are no neighbours, and maxima over others
                              // than the last
      ++reductions_left;
      return;
    }
    const Tensor64 expected = run_ref(op, sample, inputs);
    const Tensor64 result = Fused(body).run(inputs)[0];
    REQUIRE(result.size() == expected.size());
    for (std::size_t i = 0; i < result.size(); ++i) {
      CHECK(result[i] ==
            doctest::Approx(expected[i]).epsilon(op.tile == TileOp::sum ? 1e-5 : 1e-6));
    }
    ++samples;
  });
  CHECK(samples > 100);
  CHECK(reductions_left > 0);
}

TEST_CASE("an RMS norm with bias and a cross-entropy row are one kernel each") {
  Rng rng(3, Purpose::check, 0);
  Builder b;
  const Id x = b.input({DType::f32, {6, 40}});
  const Id gain = b.input({DType::f32, {40}});
  const Id scale = b.rsqrt(b.add(b.mean(b.square(x), {1}), 1e-6));
  const Id y = b.mul(b.mul(x, b.broadcast(scale, {1}, {6, 40})), b.broadcast_to(gain, {6, 40}));
  const GraphPtr body = b.finish({y, scale, b.sum(y, {0})});
  const Fused fused(body);
  std::vector<Tensor64> inputs{Tensor64(240), Tensor64(40)};
  for (Tensor64& input : inputs) {
    for (double& v : input) v = static_cast<double>(static_cast<float>(rng.uniform(-2, 2)));
  }
  const std::vector<Tensor64> expected = evaluate(*body, inputs);
  const std::vector<Tensor64> result = fused.run(inputs);
  for (std::size_t j = 0; j < expected.size(); ++j) {
    for (std::size_t i = 0; i < expected[j].size(); ++i) {
      CHECK(result[j][i] == doctest::Approx(expected[j][i]).epsilon(1e-5).scale(1));
    }
  }
  // x may become y; gain is read by all rows.
  CHECK(fused_may_overwrite(fused.node()) == std::vector<std::uint32_t>{1, 0, 0});
}

TEST_CASE("a row that nothing links to the rest of its cluster is computed over the outer axes") {
  Builder b;
  const Type block{DType::f32, {4, 2, 5}}, row{DType::f32, {4, 2}};
  const Id x = b.input(block), p = b.input(row), q = b.input(row);
  const GraphPtr body = b.finish({b.tanh(x), b.sub(p, q)});
  Rng rng(3, Purpose::check, 0);
  std::vector<Tensor64> inputs{Tensor64(40), Tensor64(8), Tensor64(8)};
  for (Tensor64& input : inputs) {
    for (double& v : input) v = static_cast<double>(static_cast<float>(rng.uniform(-2, 2)));
  }
  const std::vector<Tensor64> expected = evaluate(*body, inputs);
  const std::vector<Tensor64> result = Fused(body).run(inputs);
  for (std::size_t j = 0; j < expected.size(); ++j) {
    for (std::size_t i = 0; i < expected[j].size(); ++i) {
      CHECK(result[j][i] == doctest::Approx(expected[j][i]).epsilon(1e-5));
    }
  }
}

TEST_CASE("a reversal is fused where nothing tells its axis from the last") {
  const auto lowers = [](Shape axes, Shape shape, bool by_row, bool position) {
    Builder b;
    const Id x = b.input({DType::f32, shape});
    Id y = b.mul(b.reverse(b.tanh(x), std::move(axes)), 0.5);
    const auto last = static_cast<std::int64_t>(shape.size()) - 1;
    if (by_row) {
      const Shape outer(shape.begin(), shape.end() - 1);
      y = b.mul(y, b.broadcast(b.input({DType::f32, outer}), {last}, shape));
    }
    if (position) y = b.add(y, b.iota(DType::f32, shape, static_cast<int>(last)));
    const GraphPtr body = b.finish({y});
    std::vector<std::int32_t> nodes(body->nodes.size());
    std::iota(nodes.begin(), nodes.end(), 0);
    return fused_spec(*body, nodes, body->inputs, body->outputs).has_value();
  };
  CHECK(lowers({1}, {6, 2, 32}, false, false));
  CHECK(!lowers({2}, {6, 2, 32}, false, false));
  CHECK(!lowers({0}, {6, 2, 32}, false, false));
  CHECK(!lowers({0, 1}, {6, 2, 32}, false, false));
  CHECK(!lowers({1}, {6, 20, 32}, false, false));
  CHECK(!lowers({1}, {6, 2, 32}, true, false));
  CHECK(!lowers({1}, {6, 2, 32}, false, true));
}

TEST_CASE("a value needed over two different axes, or a sum that is used again, is no cluster") {
  Builder b;
  const Id x = b.input({DType::f32, {5, 5}});
  const Id v = b.tanh(b.input({DType::f32, {5}}));
  const Id twice = b.add(b.mul(x, b.broadcast(v, {0}, {5, 5})), b.broadcast(v, {1}, {5, 5}));
  const Id columns = b.sum(x, {0});
  const Id again = b.mul(x, b.broadcast(columns, {0}, {5, 5}));
  const Graph& g = b.graph();
  const auto nodes_to = [&](Id id) {
    std::vector<std::int32_t> nodes;
    for (std::int32_t n = 0; n <= g.values[static_cast<std::size_t>(id)].node; ++n)
      nodes.push_back(n);
    return nodes;
  };
  const Ids inputs{g.inputs[0], g.inputs[1]};
  CHECK(!fused_spec(g, nodes_to(twice), inputs, Ids{twice}).has_value());
  const std::int32_t tail[] = {g.values[static_cast<std::size_t>(columns)].node,
                               g.values[static_cast<std::size_t>(columns)].node + 1,
                               g.values[static_cast<std::size_t>(again)].node};
  CHECK(!fused_spec(g, tail, inputs, Ids{again}).has_value());
}

}  // namespace
}  // namespace mixflow
