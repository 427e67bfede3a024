#include "models/transformer.h"

#include <cmath>
#include <numbers>

#include "models/losses.h"
#include "models/mlp.h"
#include "ops/op_list.h"
#include "util/error.h"

namespace mixflow {
namespace {

constexpr double kNormEps = 1e-6;
constexpr double kRotaryBase = 10000;
constexpr double kEmbedDeviation = 0.02;
constexpr double kMasked = -1e30;  // a score whose exponential is 0 beside any other

// Order of the tensors in theta; the last one is the network's own.
enum Tensor : std::size_t { embed, norm1, norm2, wq, wk, wv, wo, w1, w2, norm, last, kTensors };

std::vector<Parameter> shared_parameters(const TransformerModel& m) {
  const auto gain = [](std::string name, Shape shape) {
    return Parameter{.name = std::move(name), .shape = std::move(shape), .value = 1};
  };
  const auto matrix = [](std::string name, Shape shape) {
    const auto fan_in = static_cast<double>(shape[shape.size() - 2]);
    return Parameter{.name = std::move(name),
                     .shape = std::move(shape),
                     .init = Init::fan_in,
                     .deviation = 1 / std::sqrt(fan_in)};
  };
  const std::int64_t d = m.d_model, hk = m.heads * m.kv_size, L = m.layers;
  return {
      {.name = "embed", .shape = {m.vocab, d}, .init = Init::fan_in, .deviation = kEmbedDeviation},
      gain("blocks.norm1", {L, d}),
      gain("blocks.norm2", {L, d}),
      matrix("blocks.wq", {L, d, hk}),
      matrix("blocks.wk", {L, d, hk}),
      matrix("blocks.wv", {L, d, hk}),
      matrix("blocks.wo", {L, hk, d}),
      matrix("blocks.w1", {L, d, m.ffw}),
      matrix("blocks.w2", {L, m.ffw, d}),
      gain("norm", {d})};
}

Id rms_norm(Builder& b, Id h, Id gain) {
  const int axis = b.type(h).rank() - 1;
  const Id scale = b.rsqrt(b.add(b.mean(b.square(h), {axis}), kNormEps));
  const Id by_row = b.broadcast(scale, {axis}, b.shape(h));
  return b.mul(b.mul(h, by_row), gain);
}

// Cosines and signed sines [S, K] by which rotary positions turn a head: turned(x) = x cosines +
// swapped(x) sines, where `swapped` exchanges the halves of a head.
struct Rotary {
  Id cosines, sines;
};

Rotary rotary(Builder& b, DType dtype, std::int64_t S, std::int64_t K) {
  const std::int64_t half = K / 2;
  const Shape shape{S, half};
  const Id rate =
      b.exp(b.mul(b.iota(dtype, shape, 1), -std::log(kRotaryBase) / static_cast<double>(half)));
  const Id angle = b.mul(b.iota(dtype, shape, 0), rate);
  const Id cosine = b.cos(angle), sine = b.sin(angle);
  const Ids cosines{cosine, cosine};
  const Ids sines{b.neg(sine), sine};
  return {b.concat(cosines, 1), b.concat(sines, 1)};
}

// x [B, H, S, K]
Id turned(Builder& b, Id x, const Rotary& by) {
  const Shape shape = b.shape(x);
  Shape halves(shape.begin(), shape.end() - 1);
  halves.insert(halves.end(), {2, shape.back() / 2});
  const auto axis = static_cast<std::int64_t>(halves.size()) - 2;
  const Id swapped = b.reshape(b.reverse(b.reshape(x, halves), {axis}), shape);
  return b.add(b.mul(x, by.cosines), b.mul(swapped, by.sines));
}

// [B, S, H K] -> [B, H, S, K]
Id split_heads(Builder& b, Id x, const TransformerModel& m) {
  const Shape shape = b.shape(x);
  return b.transpose(b.reshape(x, {shape[0], shape[1], m.heads, m.kv_size}), {0, 2, 1, 3});
}

Id attention(Builder& b, Id a, std::span<const Id> block, const Rotary& positions,
             const TransformerModel& m, bool causal) {
  const Shape shape = b.shape(a);
  const std::int64_t B = shape[0], S = shape[1];
  const auto heads = [&](Tensor weight) { return split_heads(b, b.dot(a, block[weight]), m); };
  const Id q =
      b.mul(turned(b, heads(wq), positions), 1 / std::sqrt(static_cast<double>(m.kv_size)));
  const Id k = turned(b, heads(wk), positions);
  Id scores = b.dot(q, k, false, true);
  if (causal) {
    const DType dtype = b.dtype(scores);
    const Id visible = b.less(b.iota(dtype, {S, S}, 1), b.add(b.iota(dtype, {S, S}, 0), 1.0));
    scores = b.select(visible, scores, b.full(kMasked, dtype));
  }
  const Id log_sum = b.broadcast(b.logsumexp(scores), {3}, b.shape(scores));
  const Id p = b.exp(b.sub(scores, log_sum));
  const Id mixed = b.transpose(b.dot(p, heads(wv)), {0, 2, 1, 3});
  return b.dot(b.reshape(mixed, {B, S, m.heads * m.kv_size}), block[wo]);
}

// (cosines, sines | h | the block's tensors) -> h
GraphPtr block_graph(const TransformerModel& m, DType dtype, const Shape& h_shape, bool causal) {
  Builder b;
  const std::vector<Parameter> parameters = shared_parameters(m);
  const Rotary positions{b.input({dtype, {h_shape[1], m.kv_size}}, "cosines"),
                         b.input({dtype, {h_shape[1], m.kv_size}}, "sines")};
  Id h = b.input({dtype, h_shape}, "h");
  Ids block(kTensors, kNone);
  for (std::size_t i = norm1; i <= w2; ++i) {
    const Shape& stack = parameters[i].shape;
    block[i] = b.input({dtype, Shape(stack.begin() + 1, stack.end())}, parameters[i].name);
  }
  {
    Builder::Scope scope(b, "attention");
    h = b.add(h, attention(b, rms_norm(b, h, block[norm1]), block, positions, m, causal));
  }
  Builder::Scope scope(b, "feed-forward");
  const Id wide = b.dot(rms_norm(b, h, block[norm2]), block[w1]);
  return b.finish({b.add(h, b.dot(activate(b, Activation::gelu, wide), block[w2]))});
}

// The last hidden state, normalised: [B, S, d].
Id hidden(Builder& b, std::span<const Id> theta, Id tokens, const TransformerModel& m, bool causal,
          bool remat_block) {
  MIXFLOW_CHECK(theta.size() == kTensors, "one value per parameter expected");
  const DType dtype = b.dtype(theta[embed]);
  Id h;
  {
    Builder::Scope scope(b, "embed");
    h = b.gather(theta[embed], tokens);
  }
  const Shape shape = b.shape(h);
  {
    Builder::Scope scope(b, "blocks");
    const Rotary positions = rotary(b, dtype, shape[1], m.kv_size);
    const Ids consts{positions.cosines, positions.sines};
    const Ids carry{h};
    const Policy policy{remat_block ? Policy::Keep::carries : Policy::Keep::all, {}};
    h = b.scan(block_graph(m, dtype, shape, causal), consts, carry,
               theta.subspan(norm1, w2 - norm1 + 1), m.layers, false, policy)
            .carry[0];
  }
  Builder::Scope scope(b, "norm");
  return rms_norm(b, h, theta[norm]);
}

// tokens [B, S+1] -> S of them in each row, from `first`.
Id window(Builder& b, Id tokens, std::int64_t first) {
  const Shape shape = b.shape(tokens);
  return b.slice(tokens, {0, first}, {shape[0], first + shape[1] - 1});
}

}  // namespace

Transformer::Transformer(const TransformerModel& config, bool remat_block)
    : config_(config), remat_block_(remat_block) {
  parameters_ = shared_parameters(config);
  parameters_.push_back({.name = "head",
                         .shape = {config.d_model, config.vocab},
                         .init = Init::fan_in,
                         .deviation = 1 / std::sqrt(static_cast<double>(config.d_model))});
}

Id Transformer::outputs(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const {
  const Id h = hidden(b, theta, window(b, fields[0], 0), config_, true, remat_block_);
  Builder::Scope scope(b, "head");
  return b.dot(h, theta[last]);
}

// [B S]
Id Transformer::token_losses(Builder& b, std::span<const Id> theta,
                             std::span<const Id> fields) const {
  const Id logits = outputs(b, theta, fields);
  Builder::Scope scope(b, "cross-entropy");
  const Shape shape = b.shape(logits);
  const std::int64_t rows = shape[0] * shape[1];
  const Id targets = b.reshape(window(b, fields[0], 1), {rows});
  return loss_terms(b, Loss::cross_entropy, b.reshape(logits, {rows, shape[2]}), targets);
}

Id Transformer::loss(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const {
  return b.mean(token_losses(b, theta, fields), {0});
}

Id Transformer::example_losses(Builder& b, std::span<const Id> theta,
                               std::span<const Id> fields) const {
  const Shape tokens = b.shape(fields[0]);
  return b.mean(b.reshape(token_losses(b, theta, fields), {tokens[0], tokens[1] - 1}), {1});
}

Id Transformer::accuracy(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const {
  const Id logits = outputs(b, theta, fields);
  const Shape shape = b.shape(logits);
  const std::int64_t rows = shape[0] * shape[1];
  return batch_accuracy(b, Loss::cross_entropy, b.reshape(logits, {rows, shape[2]}),
                        b.reshape(window(b, fields[0], 1), {rows}));
}

ScoreNetwork::ScoreNetwork(const TransformerModel& config, bool remat_block)
    : config_(config), remat_block_(remat_block), parameters_(shared_parameters(config)) {
  parameters_.push_back({.name = "score",
                         .shape = {config.d_model},
                         .init = Init::fan_in,
                         .deviation = 1 / std::sqrt(static_cast<double>(config.d_model))});
}

Id ScoreNetwork::scores(Builder& b, std::span<const Id> phi, std::span<const Id> fields) const {
  Builder::Scope scope(b, "scores");
  const Id h = hidden(b, phi, window(b, fields[0], 0), config_, false, remat_block_);
  return b.sum(b.mul(b.mean(h, {1}), phi[last]), {1});
}

}  // namespace mixflow
