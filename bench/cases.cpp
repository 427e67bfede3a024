#include "bench/cases.h"

#include <algorithm>
#include <array>
#include <utility>

#include "meta/optimizer.h"
#include "models/mlp.h"
#include "ops/builder.h"
#include "transform/differentiate.h"
#include "transform/transform.h"

namespace mixflow::bench {
namespace {

Type f32(Shape shape) { return {DType::f32, std::move(shape)}; }

std::string text(const Shape& shape) {
  std::string result;
  for (const std::int64_t size : shape)
    result += (result.empty() ? "" : "x") + std::to_string(size);
  return result;
}

// A graph with its gradient by all inputs, given the outputs' cotangents, and the tangents of that
// gradient along all inputs.
void add_derivatives(std::vector<Case>& cases, const std::string& name, const GraphPtr& graph) {
  cases.push_back({name, graph});
  const Mask inputs(graph->inputs.size(), true), outputs(graph->outputs.size(), true);
  const GraphPtr gradient = vjp(*graph, inputs, outputs).graph;
  cases.push_back({name + "/vjp", gradient});
  Mask primals(gradient->inputs.size(), false);
  std::fill_n(primals.begin(), graph->inputs.size(), true);
  const JvpResult second = jvp(*gradient, primals);
  const Ids tangents(
      second.graph->outputs.begin() + static_cast<std::ptrdiff_t>(gradient->outputs.size()),
      second.graph->outputs.end());
  cases.push_back({name + "/second", dce(*cut(*second.graph, second.graph->inputs, tangents))});
}

GraphPtr rms_norm(const Shape& shape) {
  Builder b;
  const Id h = b.input(f32(shape)), gain = b.input(f32({shape[1]}));
  const Id scale = b.rsqrt(b.add(b.mean(b.square(h), {1}), 1e-6));
  return b.finish({b.mul(b.mul(h, b.broadcast(scale, {1}, shape)), gain)});
}

GraphPtr softmax(const Shape& shape) {
  Builder b;
  const Id scores = b.input(f32(shape));
  return b.finish({b.exp(b.sub(scores, b.broadcast(b.logsumexp(scores), {1}, shape)))});
}

GraphPtr gelu(const Shape& shape) {
  Builder b;
  return b.finish({activate(b, Activation::gelu, b.input(f32(shape)))});
}

GraphPtr adam(const Shape& shape) {
  Builder b;
  const Id g = b.input(f32(shape)), theta = b.input(f32(shape));
  const Ids state{b.input(f32(shape)), b.input(f32(shape))};
  const auto constant = [&](double value) { return b.full(value, DType::f32); };
  const UpdateArgs args{.lr = constant(1e-3),
                        .beta1 = constant(0.9),
                        .beta2 = constant(0.999),
                        .unbias1 = constant(10),
                        .unbias2 = constant(1000)};
  const Updated updated = update(b, {.kind = OptimizerKind::adam}, g, theta, state, args);
  return b.finish({updated.theta, updated.opt_state[0], updated.opt_state[1]});
}

// One op of one f32 input.
template <class Make>
Case unary(const std::string& name, const Shape& shape, const Make& make) {
  Builder b;
  const Id x = b.input(f32(shape));
  return {name + "/" + text(shape), b.finish({make(b, x)})};
}

void add_reductions(std::vector<Case>& cases) {
  for (const Shape& shape : {Shape{1024, 256}, Shape{4096, 4096}}) {
    cases.push_back(
        unary("reduce/sum_columns", shape, [](Builder& b, Id x) { return b.sum(x, {1}); }));
    cases.push_back(
        unary("reduce/sum_rows", shape, [](Builder& b, Id x) { return b.sum(x, {0}); }));
    cases.push_back(unary("reduce/sum_all", shape, [](Builder& b, Id x) { return b.sum_all(x); }));
    cases.push_back(
        unary("reduce/logsumexp", shape, [](Builder& b, Id x) { return b.logsumexp(x); }));
  }
}

Case gather(std::int64_t rows, std::int64_t width, std::int64_t n, bool scatter) {
  Builder b;
  const Id x = b.input(f32({scatter ? n : rows, width})), index = b.input({DType::i32, {n}});
  const Id y = scatter ? b.scatter_add(x, index, rows) : b.gather(x, index);
  return {std::string("move/") + (scatter ? "scatter_add/" : "gather/") + text({rows, width, n}),
          b.finish({y}), rows};
}

void add_moves(std::vector<Case>& cases) {
  // Heads of attention apart, and together again.
  cases.push_back(unary("move/split_heads", {4, 256, 4, 64}, [](Builder& b, Id x) {
    return b.transpose(x, {0, 2, 1, 3});
  }));
  cases.push_back(unary("move/transpose", {1024, 1024}, [](Builder& b, Id x) {
    return b.transpose(x, {1, 0});
  }));
  cases.push_back(unary("move/swap_halves", {4, 256, 4, 2, 32},
                        [](Builder& b, Id x) { return b.reverse(x, {3}); }));
  cases.push_back(unary("move/slice", {1024, 1024}, [](Builder& b, Id x) {
    return b.slice(x, {0, 256}, {1024, 768});
  }));
  cases.push_back(unary("move/concat", {512, 1024}, [](Builder& b, Id x) {
    const Ids twice{x, x};
    return b.concat(twice, 1);
  }));
  cases.push_back(gather(32000, 512, 2048, false));
  cases.push_back(gather(32000, 512, 2048, true));
}

// C [m,n] = A B with `terms` products, as they come from tangents (x' W + x W').
Case product(std::int64_t m, std::int64_t n, std::int64_t k, bool trans_a, bool trans_b,
             int terms = 1) {
  Builder b;
  Id c = kNone;
  for (int i = 0; i < terms; ++i) {
    const Id x = b.input(f32(trans_a ? Shape{k, m} : Shape{m, k}));
    const Id y = b.input(f32(trans_b ? Shape{n, k} : Shape{k, n}));
    const Id one = b.dot(x, y, trans_a, trans_b);
    c = c == kNone ? one : b.add(c, one);
  }
  std::string name = "dot/" + text({m, n, k});
  if (trans_a || trans_b) name += std::string("/") + (trans_a ? "t" : "n") + (trans_b ? "t" : "n");
  if (terms > 1) name += "/" + std::to_string(terms) + "_products";
  return {name, b.finish({c})};
}

void add_products(std::vector<Case>& cases) {
  // A small MLP, few-shot images, one head of attention: our own kernels.
  cases.push_back(product(10, 40, 40, false, false));
  cases.push_back(product(5, 64, 784, false, false));
  cases.push_back(product(784, 64, 5, true, false));
  cases.push_back(product(75, 64, 784, false, false));
  cases.push_back(product(64, 256, 64, false, true));
  cases.push_back(product(64, 64, 256, false, false, 2));
  // Transformers of 3.3M and 58M, all three directions.
  for (const auto& [d, f, tokens] :
       {std::array<std::int64_t, 3>{256, 1024, 1024}, {512, 2048, 2048}}) {
    cases.push_back(product(tokens, f, d, false, false));
    cases.push_back(product(tokens, d, f, false, true));
    cases.push_back(product(d, f, tokens, true, false));
    cases.push_back(product(d, f, tokens, true, false, 2));
  }
}

}  // namespace

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Shape& shape : {Shape{64, 256}, Shape{1024, 256}, Shape{4096, 2048}}) {
    add_derivatives(all, "fused/rms_norm/" + text(shape), rms_norm(shape));
    add_derivatives(all, "fused/softmax/" + text(shape), softmax(shape));
    add_derivatives(all, "fused/gelu/" + text(shape), gelu(shape));
    add_derivatives(all, "fused/adam/" + text(shape), adam(shape));
  }
  add_reductions(all);
  add_moves(all);
  add_products(all);
  return all;
}

}  // namespace mixflow::bench
