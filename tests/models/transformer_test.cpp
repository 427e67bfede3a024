#include "models/transformer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "draw.h"
#include "models/block_sizes.h"
#include "ops/op_list.h"
#include "plain_transformer.h"
#include "transform/merge_maps.h"
#include "transform/transform.h"

namespace mixflow {
namespace {

struct Case {
  TransformerModel sizes;
  std::int64_t B, S;
};

GradientConfig keeping(bool everything,
                       BlockSizes blocks = {
                           .attention = -1, .feed_forward = -1, .cross_entropy = -1}) {
  GradientConfig gradient;
  gradient.remat.block = !everything;
  gradient.blocks = blocks;
  return gradient;
}

// No blocks; a row at a time; blocks that leave a rest; blocks larger than all there is.
const std::vector<BlockSizes> kBlocks = {
    {-1, -1, -1}, {1, 1, 1}, {2, 4, 3}, {3, 2, 4}, {100, 100, 100}};

// Heads wider and narrower than the model, odd sizes, one example, one token.
const std::vector<Case> kCases = {
    {{.vocab = 11, .d_model = 6, .ffw = 10, .heads = 3, .kv_size = 4, .layers = 3}, 2, 5},
    {{.vocab = 7, .d_model = 9, .ffw = 5, .heads = 1, .kv_size = 6, .layers = 2}, 3, 7},
    {{.vocab = 5, .d_model = 3, .ffw = 4, .heads = 2, .kv_size = 2, .layers = 4}, 1, 9},
    {{.vocab = 5, .d_model = 4, .ffw = 7, .heads = 2, .kv_size = 4, .layers = 2}, 3, 1},
    {{.vocab = 2, .d_model = 1, .ffw = 1, .heads = 1, .kv_size = 2, .layers = 1}, 1, 1},
};

// A network in a builder, with values of its tensors and of one batch.
struct Drawn {
  Builder b;
  Ids theta, fields;
  std::vector<Tensor64> values;  // theta, then tokens
  PlainTransformer plain;
  std::vector<std::vector<int>> examples;  // S + 1 tokens each

  Drawn(const std::vector<Parameter>& parameters, const Case& of, std::uint64_t seed) {
    Draw draw(seed);
    plain.sizes = of.sizes;
    for (const Parameter& parameter : parameters) {
      theta.push_back(b.input({DType::f64, parameter.shape}, parameter.name));
      const bool gain = parameter.name.find("norm") != std::string::npos;
      values.push_back(draw.tensor(num_elements(parameter.shape), gain ? 0.5 : -1, 1.5));
      plain.weights[parameter.name] = values.back();
    }
    fields.push_back(b.input({DType::i32, {of.B, of.S + 1}}, "tokens"));
    values.push_back(draw.labels(of.B * (of.S + 1), of.sizes.vocab));
    for (auto at = values.back().begin(); at != values.back().end(); at += of.S + 1) {
      examples.emplace_back(at, at + of.S + 1);
    }
  }
  Tensor64 evaluated(Id output) { return run(b, output, values); }
};

std::vector<int> read_part(const std::vector<int>& example) {
  return {example.begin(), example.end() - 1};
}

double token_loss(const Row& logits, int target) {
  double total = 0;
  for (const double z : logits) total += std::exp(z);
  return std::log(total) - logits[static_cast<std::size_t>(target)];
}

void check_close(const Tensor64& actual, const Tensor64& expected) {
  REQUIRE(actual.size() == expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    CHECK(actual[i] == doctest::Approx(expected[i]).epsilon(1e-11));
  }
}

double mean_of(const Tensor64& values) {
  double total = 0;
  for (const double x : values) total += x / static_cast<double>(values.size());
  return total;
}

TEST_CASE("a transformer's logits, losses and accuracy are those of plain loops") {
  for (std::size_t i = 0; i < kCases.size() * kBlocks.size(); ++i) {
    CAPTURE(i);
    const std::size_t c = i / kBlocks.size();
    const Case& of = kCases[c];
    const Transformer model(of.sizes, keeping(false, kBlocks[i % kBlocks.size()]));
    const auto drawn = [&] { return Drawn(model.parameters(), of, c); };
    Tensor64 logits, losses;
    double right = 0;
    for (const std::vector<int>& example : drawn().examples) {
      double loss = 0;
      const Rows rows = drawn().plain.logits(read_part(example));
      for (std::size_t s = 0; s < rows.size(); ++s) {
        logits.insert(logits.end(), rows[s].begin(), rows[s].end());
        loss += token_loss(rows[s], example[s + 1]) / static_cast<double>(of.S);
        const double own = rows[s][static_cast<std::size_t>(example[s + 1])];
        right += own >= std::ranges::max(rows[s]) ? 1 : 0;
      }
      losses.push_back(loss);
    }
    Drawn a = drawn(), b = drawn(), d = drawn(), e = drawn();
    const Id outputs = model.outputs(a.b, a.theta, a.fields);
    CHECK(a.b.shape(outputs) == Shape{of.B, of.S, of.sizes.vocab});
    check_close(a.evaluated(outputs), logits);
    check_close(b.evaluated(model.example_losses(b.b, b.theta, b.fields)), losses);
    check_close(d.evaluated(model.loss(d.b, d.theta, d.fields)), {mean_of(losses)});
    check_close(e.evaluated(model.accuracy(e.b, e.theta, e.fields)),
                {right / static_cast<double>(of.B * of.S)});
  }
}

TEST_CASE("a scoring network's scores are those of plain loops that see every position") {
  for (std::size_t i = 0; i < kCases.size() * kBlocks.size(); ++i) {
    CAPTURE(i);
    const std::size_t c = i / kBlocks.size();
    const Case& of = kCases[c];
    const ScoreNetwork network(of.sizes, keeping(false, kBlocks[i % kBlocks.size()]));
    Drawn drawn(network.parameters(), of, 20 + c);
    const Tensor64 scores = drawn.evaluated(network.scores(drawn.b, drawn.theta, drawn.fields));
    PlainTransformer causal = drawn.plain;
    drawn.plain.causal = false;
    Tensor64 expected;
    for (const std::vector<int>& example : drawn.examples) {
      expected.push_back(drawn.plain.score(read_part(example)));
      if (of.S > 1) CHECK(std::abs(causal.score(read_part(example)) - expected.back()) > 1e-6);
    }
    check_close(scores, expected);
  }
}

TEST_CASE("a later token changes no earlier logit, but its own and later ones") {
  const Case& of = kCases[0];
  const Transformer model(of.sizes, keeping(false, {2, 2, 2}));
  const auto logits = [&](std::size_t changed) {
    Drawn drawn(model.parameters(), of, 3);
    double& token = drawn.values.back()[changed];
    token = token == 0 ? 1 : token - 1;
    return drawn.evaluated(model.outputs(drawn.b, drawn.theta, drawn.fields));
  };
  const auto target = static_cast<std::size_t>(of.S);
  const Tensor64 base = logits(target);  // the last token is predicted, not read
  for (std::size_t position = 0; position < target; ++position) {
    Drawn drawn(model.parameters(), of, 3);
    CHECK(base == drawn.evaluated(model.outputs(drawn.b, drawn.theta, drawn.fields)));
    const Tensor64 changed = logits(position);
    const auto vocab = static_cast<std::size_t>(of.sizes.vocab);
    for (std::size_t s = 0; s < static_cast<std::size_t>(of.B * of.S); ++s) {
      CAPTURE(s);
      const auto row = [&](const Tensor64& all) {
        const auto at = all.begin() + static_cast<std::ptrdiff_t>(s * vocab);
        return Tensor64(at, at + of.sizes.vocab);
      };
      const bool later = s >= position && s < target;  // of the first example
      CHECK((row(changed) != row(base)) == later);
    }
  }
}

TEST_CASE("a score does not depend on the token that is predicted only, nor on other examples") {
  const Case& of = kCases[0];
  const ScoreNetwork network(of.sizes, keeping(false, {2, 2, 2}));
  const auto scores = [&](std::int64_t changed) {
    Drawn drawn(network.parameters(), of, 4);
    if (changed >= 0) {
      double& token = drawn.values.back()[static_cast<std::size_t>(changed)];
      token = token == 0 ? 1 : token - 1;
    }
    return drawn.evaluated(network.scores(drawn.b, drawn.theta, drawn.fields));
  };
  const Tensor64 base = scores(-1);
  CHECK(scores(of.S) == base);
  const Tensor64 changed = scores(of.S - 1);
  CHECK(changed[0] != base[0]);
  CHECK(changed[1] == base[1]);
}

TEST_CASE("a transformer names, shapes and starts its tensors as the design says") {
  const TransformerModel sizes{
      .vocab = 50, .d_model = 16, .ffw = 36, .heads = 2, .kv_size = 32, .layers = 3};
  const Transformer model(sizes, keeping(false));
  const auto is = [](const Parameter& p, const char* name, const Shape& shape, double deviation,
                     double value) {
    CAPTURE(name);
    CHECK(p.name == name);
    CHECK(p.shape == shape);
    CHECK(p.deviation == doctest::Approx(deviation));
    CHECK(p.value == value);
  };
  const auto& p = model.parameters();
  REQUIRE(p.size() == 11);
  is(p[0], "embed", {50, 16}, 0.02, 0);
  is(p[1], "blocks.norm1", {3, 16}, 0, 1);
  is(p[2], "blocks.norm2", {3, 16}, 0, 1);
  is(p[3], "blocks.wq", {3, 16, 64}, 0.25, 0);
  is(p[4], "blocks.wk", {3, 16, 64}, 0.25, 0);
  is(p[5], "blocks.wv", {3, 16, 64}, 0.25, 0);
  is(p[6], "blocks.wo", {3, 64, 16}, 0.125, 0);
  is(p[7], "blocks.w1", {3, 16, 36}, 0.25, 0);
  is(p[8], "blocks.w2", {3, 36, 16}, 1.0 / 6, 0);
  is(p[9], "norm", {16}, 0, 1);
  is(p[10], "head", {16, 50}, 0.25, 0);
  CHECK(model.classifies());
  const ScoreNetwork network(sizes, keeping(false));
  REQUIRE(network.parameters().size() == 11);
  for (std::size_t i = 0; i < 10; ++i) CHECK(network.parameters()[i].name == p[i].name);
  is(network.parameters()[10], "score", {16}, 0.25, 0);
}

// Loss and its gradient by every tensor.
struct Gradient {
  GraphPtr graph;
  std::vector<Tensor64> inputs, values;
};

Gradient gradient_of(const Transformer& model, const Case& of) {
  Drawn drawn(model.parameters(), of, 6);
  const GraphPtr loss = drawn.b.finish({model.loss(drawn.b, drawn.theta, drawn.fields)});
  Mask active(loss->inputs.size(), true);
  active.back() = false;  // tokens
  const VjpResult result = vjp(*loss, active, {true}, true);
  CHECK(result.in_nonzero == active);
  std::vector<Tensor64> inputs = drawn.values;
  inputs.push_back({1.0});
  const GraphPtr graph = clean(*result.graph);
  const std::vector<Tensor64> values = evaluate(*graph, inputs);
  return {graph, inputs, values};
}

TEST_CASE("blocks that keep their input alone give the same loss and gradients by more products") {
  for (std::size_t c = 0; c < kCases.size(); ++c) {
    CAPTURE(c);
    const Gradient kept = gradient_of(Transformer(kCases[c].sizes, keeping(true)), kCases[c]),
                   remat = gradient_of(Transformer(kCases[c].sizes, keeping(false)), kCases[c]);
    REQUIRE(kept.values.size() == 12);
    REQUIRE(remat.values.size() == 12);
    for (std::size_t i = 0; i < kept.values.size(); ++i)
      check_close(remat.values[i], kept.values[i]);
    if (kCases[c].sizes.layers > 1) {
      CHECK(count_ops(*remat.graph, op::k_dot) > count_ops(*kept.graph, op::k_dot));
    }
  }
}

TEST_CASE("blocks of attention and of the output layer change neither loss nor gradients") {
  for (std::size_t c = 0; c < kCases.size(); ++c) {
    CAPTURE(c);
    const Gradient whole = gradient_of(Transformer(kCases[c].sizes, keeping(true)), kCases[c]);
    for (std::size_t k = 1; k < kBlocks.size(); ++k) {
      CAPTURE(k);
      for (const bool everything : {true, false}) {
        const Transformer model(kCases[c].sizes, keeping(everything, kBlocks[k]));
        const Gradient blocked = gradient_of(model, kCases[c]);
        for (std::size_t i = 0; i < whole.values.size(); ++i)
          check_close(blocked.values[i], whole.values[i]);
      }
    }
  }
}

TEST_CASE("the output layer by blocks does its products once for the loss and its gradient") {
  const Case& of = kCases[0];
  const Gradient gradient = gradient_of(Transformer(of.sizes, keeping(true, {-1, -1, 5})), of);
  const GraphPtr merged = merge_maps(*gradient.graph);
  CHECK(count_ops(*merged, op::k_map) == count_ops(*gradient.graph, op::k_map) - 1);
  CHECK(count_ops(*merged, op::k_dot) == count_ops(*gradient.graph, op::k_dot) - 1);
  CHECK(evaluate(*merged, gradient.inputs) == gradient.values);
}

TEST_CASE("blocked, no scores of all positions and no logits of all tokens exist anywhere") {
  const Case of{
      {.vocab = 64, .d_model = 4, .ffw = 4, .heads = 2, .kv_size = 2, .layers = 2}, 2, 32};
  const auto largest = [&](BlockSizes blocks) {
    const Gradient gradient = gradient_of(Transformer(of.sizes, keeping(false, blocks)), of);
    std::int64_t elements = 0;
    const auto visit = [&](const auto& self, const Graph& graph) -> void {
      for (const Node& node : graph.nodes) {
        if (const Region* region = region_of(node)) self(self, *region->body);
        for (const Id out : node.out) elements = std::max(elements, graph.type(out).elements());
      }
    };
    visit(visit, *gradient.graph);
    return elements;
  };
  const std::int64_t scores = 2 * 2 * 32 * 32, logits = 2 * 32 * 64;
  CHECK(largest({-1, -1, -1}) >= std::max(scores, logits));
  CHECK(largest({4, 8, 8}) <= 8 * 64);  // one block's logits
}

TEST_CASE("of attention without blocks, a block keeps the softmax alone and no scores beside it") {
  const Case of{
      {.vocab = 64, .d_model = 4, .ffw = 4, .heads = 2, .kv_size = 2, .layers = 2}, 2, 32};
  const Gradient gradient = gradient_of(Transformer(of.sizes, keeping(true, {-1, -1, -1})), of);
  const std::int64_t scores_of_all_blocks = 2 * (2 * 2 * 32 * 32);
  int kept = 0;
  for (const Node& node : gradient.graph->nodes) {
    if (node.op != &op::k_scan) continue;
    for (const Id out : node.out)
      kept += gradient.graph->type(out).elements() == scores_of_all_blocks;
  }
  CHECK(kept == 1);
}

TEST_CASE("blocks are chosen from shapes, or are as given") {
  const BlockSizes chosen;
  CHECK(attention_rows(chosen, 127) == 127);
  CHECK(attention_rows(chosen, 128) == 32);
  CHECK(attention_rows(chosen, 256) == 64);
  CHECK(attention_rows(chosen, 1024) == 64);
  CHECK(attention_rows(chosen, 8192) == 32);
  CHECK(attention_rows({.attention = 48}, 100) == 48);
  CHECK(attention_rows({.attention = 480}, 100) == 100);
  CHECK(attention_rows({.attention = -1}, 8192) == 8192);
  CHECK(feed_forward_rows(chosen, 1024, 1024) == 256);
  CHECK(feed_forward_rows(chosen, 2048, 2048) == 256);  // 2 MiB
  CHECK(feed_forward_rows(chosen, 2048, 2049) == 128);
  CHECK(feed_forward_rows(chosen, 2048, 8192) == 64);
  CHECK(feed_forward_rows(chosen, 2048, 1000000) == 64);
  CHECK(feed_forward_rows(chosen, 1024, 100) == 256);
  CHECK(feed_forward_rows(chosen, 1000, 100) == 128);
  CHECK(feed_forward_rows(chosen, 512, 100) == 128);
  CHECK(feed_forward_rows(chosen, 300, 100) == 64);
  CHECK(feed_forward_rows(chosen, 256, 100) == 64);
  CHECK(feed_forward_rows(chosen, 100000, 100) == 256);
  CHECK(feed_forward_rows(chosen, 255, 2048) == 255);
  CHECK(feed_forward_rows({.feed_forward = 7}, 5, 10) == 5);
  CHECK(feed_forward_rows({.feed_forward = -1}, 5000, 10) == 5000);
  CHECK(cross_entropy_rows(chosen, 1024, 256) == 1024);
  CHECK(cross_entropy_rows(chosen, 8192, 256) == 8192);  // 8 MiB
  CHECK(cross_entropy_rows(chosen, 8193, 256) == 512);
  CHECK(cross_entropy_rows(chosen, 2048, 32768) == 512);  // 64 MiB
  CHECK(cross_entropy_rows(chosen, 2048, 32769) == 256);
  CHECK(cross_entropy_rows(chosen, 256, 32768) == 256);
  CHECK(cross_entropy_rows(chosen, 300, 32768) == 300);
  CHECK(cross_entropy_rows(chosen, 100000, 1000) == 512);
  CHECK(cross_entropy_rows(chosen, 100000, 1000000) == 64);
  CHECK(cross_entropy_rows({.cross_entropy = 7}, 5, 10) == 5);
  CHECK(cross_entropy_rows({.cross_entropy = -1}, 100000, 1000000) == 100000);
}

TEST_CASE("groups of query blocks cover all queries, and their keys reach the last of them") {
  for (const std::int64_t S : {1, 5, 32, 100}) {
    for (const std::int64_t rows : {1, 3, 8, 100}) {
      for (const bool causal : {false, true}) {
        std::int64_t next = 0;
        for (const QueryGroup& group : query_groups(S, std::min(rows, S), causal)) {
          CHECK(group.first == next);
          next += group.rows * group.blocks;
          CHECK(group.keys == (causal ? next : S));
        }
        CHECK(next == S);
      }
    }
  }
}

TEST_CASE("a transformer's gradient is the slope of its loss") {
  const Case& of = kCases[0];
  const Transformer model(of.sizes, keeping(false, {2, 2, 2}));
  const Gradient gradient = gradient_of(model, of);
  constexpr double kStep = 1e-5;
  Draw draw(7);
  for (std::size_t i = 0; i < model.parameters().size(); ++i) {
    CAPTURE(model.parameters()[i].name);
    const Tensor64 direction = draw.tensor(num_elements(model.parameters()[i].shape));
    const auto loss_at = [&](double step) {
      Drawn drawn(model.parameters(), of, 6);
      for (std::size_t j = 0; j < direction.size(); ++j) drawn.values[i][j] += step * direction[j];
      return drawn.evaluated(model.loss(drawn.b, drawn.theta, drawn.fields))[0];
    };
    double slope = 0;
    for (std::size_t j = 0; j < direction.size(); ++j) {
      slope += gradient.values[i + 1][j] * direction[j];
    }
    CHECK(slope == doctest::Approx((loss_at(kStep) - loss_at(-kStep)) / (2 * kStep)).epsilon(1e-6));
  }
}

TEST_CASE("the number of layers does not change the size of the graph, nor of its gradient's") {
  const auto nodes = [](std::int64_t layers, bool remat) {
    Case of = kCases[0];
    of.sizes.layers = layers;
    const Transformer model(of.sizes, keeping(!remat));
    Drawn drawn(model.parameters(), of, 8);
    const GraphPtr loss = drawn.b.finish({model.loss(drawn.b, drawn.theta, drawn.fields)});
    Mask active(loss->inputs.size(), true);
    active.back() = false;
    return std::pair(count_nodes(*loss), count_nodes(*vjp(*loss, active, {true}).graph));
  };
  for (const bool remat : {true, false}) CHECK(nodes(2, remat) == nodes(60, remat));
}

}  // namespace
}  // namespace mixflow
