#include "models/transformer.h"

#include <cmath>
#include <numbers>

#include "models/block_sizes.h"
#include "models/losses.h"
#include "models/mlp.h"
#include "ops/op_list.h"
#include "util/error.h"

namespace mixflow {
namespace {

constexpr double kNormEps = 1e-6;
constexpr double kRotaryBase = 10000;
constexpr double kEmbedDeviation = 0.02;
constexpr const char* kLogSums = "log sums";
// Where steps keep the cotangent behind the output layer, a product with all classes less for as
// many numbers as enter the layer: from so many classes on, and not beyond a small part of the
// weights, which steps keep anyway.
constexpr std::int64_t kManyClasses = 1024, kSmallPart = 16;
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

// Cosines and signed sines [S, 2, K/2] by which rotary positions turn a head: turned(x) = x cosines
// + swapped(x) sines, where `swapped` exchanges the halves of a head.
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
  const Shape halves{S, 2, half};
  return {b.reshape(b.concat(cosines, 1), halves), b.reshape(b.concat(sines, 1), halves)};
}

// Queries are scaled by 1 / sqrt(K) on the way.
struct Positions {
  Rotary queries, keys;
};

Positions positions_of(Builder& b, DType dtype, std::int64_t S, std::int64_t K) {
  const Rotary keys = rotary(b, dtype, S, K);
  const double scale = 1 / std::sqrt(static_cast<double>(K));
  return {{b.mul(keys.cosines, scale), b.mul(keys.sines, scale)}, keys};
}

// x [B, H, S, 2, K/2]
Id turned(Builder& b, Id x, const Rotary& by) {
  return b.add(b.mul(x, by.cosines), b.mul(b.reverse(x, {3}), by.sines));
}

// [B, S, H K] -> [B, H, S, 2, K/2]
Id split_heads(Builder& b, Id x, const TransformerModel& m) {
  const Shape shape = b.shape(x);
  const Id halves = b.reshape(x, {shape[0], shape[1], m.heads, 2, m.kv_size / 2});
  return b.transpose(halves, {0, 2, 1, 3, 4});
}

// Softmax of q k^T times v: q [.., rows, K], k and v [.., keys, K]. `first`: the position of the
// first query, which sees the keys up to its own position, and so on; kNone: all see all.
Id attend(Builder& b, Id q, Id k, Id v, Id first) {
  Id scores = b.dot(q, k, false, true);
  const Shape shape = b.shape(scores);
  const int axis = static_cast<int>(shape.size()) - 1;
  if (first != kNone) {
    const DType dtype = b.dtype(scores);
    const Shape one(shape.end() - 2, shape.end()), rows{one[0]};
    // By row: where what a mask is made of is small, its readers make it and nothing stores it.
    const Id position = b.add(b.iota(dtype, rows, 0), b.broadcast_to(first, rows));
    const Id past = b.broadcast(b.add(position, 1.0), {1}, one);
    const Id visible = b.less(b.iota(dtype, one, 1), past);
    scores = b.select(visible, scores, b.full(kMasked, dtype));
  }
  const Id log_sum = b.named(b.logsumexp(scores), kLogSums);
  return b.dot(b.exp(b.sub(scores, b.broadcast(log_sum, {axis}, shape))), v);
}

// (k, v [keys, K] | q [rows, K], position of the first query) -> [rows, K]. The body of a map: its
// scores [rows, keys] are recomputed by each derivative and never leave it.
GraphPtr query_block_graph(DType dtype, std::int64_t rows, std::int64_t keys, std::int64_t K,
                           bool causal) {
  Builder b;
  const Id k = b.input({dtype, {keys, K}}, "k"), v = b.input({dtype, {keys, K}}, "v");
  const Id q = b.input({dtype, {rows, K}}, "q"), first = b.input({dtype, {}}, "first");
  return b.finish({attend(b, q, k, v, causal ? first : kNone)});
}

// (q, k, v [S, K] of one head) -> [S, K], by blocks of queries.
GraphPtr head_graph(DType dtype, std::int64_t S, std::int64_t K, std::int64_t rows, bool causal) {
  Builder b;
  const Id q = b.input({dtype, {S, K}}, "q"), k = b.input({dtype, {S, K}}, "k"),
           v = b.input({dtype, {S, K}}, "v");
  Ids parts;
  for (const QueryGroup& group : query_groups(S, rows, causal)) {
    const std::int64_t queries = group.blocks * group.rows;
    const Id part = b.slice(q, {group.first, 0}, {group.first + queries, K});
    const Ids keys{b.slice(k, {0, 0}, {group.keys, K}), b.slice(v, {0, 0}, {group.keys, K})};
    const Id first = b.add(b.mul(b.iota(dtype, {group.blocks}, 0), static_cast<double>(group.rows)),
                           static_cast<double>(group.first));
    const Ids blocks{b.reshape(part, {group.blocks, group.rows, K}), first};
    const GraphPtr body = query_block_graph(dtype, group.rows, group.keys, K, causal);
    const Id part_result =
        b.map(body, keys, blocks, group.blocks, 0, {Policy::Keep::names, {kLogSums}}).ys[0];
    parts.push_back(b.reshape(part_result, {queries, K}));
  }
  return b.finish({parts.size() == 1 ? parts[0] : b.concat(parts, 0)});
}

Id attention(Builder& b, Id a, std::span<const Id> block, const Positions& positions,
             const TransformerModel& m, bool causal, std::int64_t rows) {
  const Shape shape = b.shape(a);
  const std::int64_t B = shape[0], S = shape[1], K = m.kv_size;
  const auto heads = [&](Tensor weight) { return split_heads(b, b.dot(a, block[weight]), m); };
  const Id q = turned(b, heads(wq), positions.queries);
  const Id k = turned(b, heads(wk), positions.keys);
  const Id v = heads(wv);
  Id mixed;
  if (rows >= S) {
    const auto whole = [&](Id x) { return b.reshape(x, {B, m.heads, S, K}); };
    mixed = attend(b, whole(q), whole(k), whole(v), causal ? b.full(0, b.dtype(q)) : kNone);
  } else {
    const std::int64_t n = B * m.heads;
    const Ids each{b.reshape(q, {n, S, K}), b.reshape(k, {n, S, K}), b.reshape(v, {n, S, K})};
    const GraphPtr body = head_graph(b.dtype(q), S, K, rows, causal);
    // Keeps the log sums that the maps over blocks keep; all else is cheaper to do again.
    const Policy sums{Policy::Keep::dots, {}};
    mixed = b.reshape(b.map(body, {}, each, n, 0, sums).ys[0], {B, m.heads, S, K});
  }
  return b.dot(b.reshape(b.transpose(mixed, {0, 2, 1, 3}), {B, S, m.heads * K}), block[wo]);
}

// h + gelu(RMSNorm(h) w1) w2; h [.., d].
Id feed_forward(Builder& b, Id h, Id gain, Id w1, Id w2) {
  const Id wide = b.dot(rms_norm(b, h, gain), w1);
  return b.add(h, b.dot(activate(b, Activation::gelu, wide), w2));
}

// What `part` makes of `shared` values and of the rows of `xs`, one row for each of theirs. By
// blocks of `rows`, and one with what is left; their results alone leave a block. All rows at once
// if there are no more than that.
template <class Part>
Id by_rows(Builder& b, const char* label, std::span<const Id> shared, std::span<const Id> xs,
           std::int64_t rows, const Policy& policy, const Part& part) {
  Builder::Scope scope(b, label);
  const std::int64_t all = b.shape(xs[0])[0];
  if (rows >= all) return part(b, shared, xs);
  const auto map = [&](std::int64_t first, std::int64_t n, std::int64_t size) {
    Builder body;
    Builder::Scope body_scope(body, label);
    Ids body_shared, body_xs, stacks;
    for (const Id id : shared) body_shared.push_back(body.input(b.type(id)));
    for (const Id id : xs) {
      Shape starts(b.shape(id).size(), 0), limits = b.shape(id), block = limits;
      starts[0] = first;
      limits[0] = first + n * size;
      block[0] = size;
      const Type type{b.dtype(id), block};
      body_xs.push_back(body.input(type));
      stacks.push_back(b.reshape(b.slice(id, starts, limits), stacked(type, n).shape));
    }
    const GraphPtr graph = body.finish({part(body, body_shared, body_xs)});
    const Id ys = b.map(graph, shared, stacks, n, 0, policy).ys[0];
    Shape flat(b.shape(ys).begin() + 1, b.shape(ys).end());
    flat[0] = n * size;
    return b.reshape(ys, flat);
  };
  const std::int64_t n = all / rows, rest = all % rows;
  const Id whole = map(0, n, rows);
  return rest == 0 ? whole : b.concat(Ids{whole, map(n * rows, 1, rest)}, 0);
}

// How the layers of one network are computed.
struct Layout {
  bool causal;
  std::int64_t attention_rows, feed_forward_rows;
  Policy policy;  // of blocks and of what is in them
};

// (cosines, sines of queries, of keys | h | the block's tensors) -> h
GraphPtr block_graph(const TransformerModel& m, DType dtype, const Shape& h_shape,
                     const Layout& layout) {
  Builder b;
  const std::vector<Parameter> parameters = shared_parameters(m);
  const auto rotary_input = [&]() -> Rotary {
    const Type type{dtype, {h_shape[1], 2, m.kv_size / 2}};
    const Id cosines = b.input(type, "cosines");
    return {cosines, b.input(type, "sines")};
  };
  const Rotary queries = rotary_input();
  const Positions positions{queries, rotary_input()};
  Id h = b.input({dtype, h_shape}, "h");
  Ids block(kTensors, kNone);
  for (std::size_t i = norm1; i <= w2; ++i) {
    const Shape& stack = parameters[i].shape;
    block[i] = b.input({dtype, Shape(stack.begin() + 1, stack.end())}, parameters[i].name);
  }
  {
    Builder::Scope scope(b, "attention");
    h = b.add(h, attention(b, rms_norm(b, h, block[norm1]), block, positions, m, layout.causal,
                           layout.attention_rows));
  }
  const Ids weights{block[norm2], block[w1], block[w2]};
  const auto on = [](Builder& inner, std::span<const Id> w, std::span<const Id> x) {
    return feed_forward(inner, x[0], w[0], w[1], w[2]);
  };
  const std::int64_t tokens = h_shape[0] * h_shape[1];
  const bool whole = layout.feed_forward_rows >= tokens;  // examples then stay apart
  const Ids x{whole ? h : b.reshape(h, {tokens, m.d_model})};
  h = by_rows(b, "feed-forward", weights, x, layout.feed_forward_rows, layout.policy, on);
  return b.finish({b.reshape(h, h_shape)});
}

Policy::Keep block_keep(BlockKeep keep, const RematConfig& remat) {
  switch (keep) {
    case BlockKeep::by_block:
      return remat.block ? Policy::Keep::carries : Policy::Keep::all;
    case BlockKeep::inputs:
      return Policy::Keep::carries;
    case BlockKeep::dots:
      return Policy::Keep::dots;
    case BlockKeep::all:
      return Policy::Keep::all;
  }
  MIXFLOW_CHECK(false, "unknown policy");
}

Policy block_policy(const RematConfig& remat) {
  const Policy::Keep gradients = block_keep(remat.policy.gradients, remat);
  const Policy::Keep second_order = block_keep(remat.policy.second_order, remat);
  Policy policy{gradients, {}};
  if (second_order != gradients) policy.differentiated = second_order;
  return policy;
}

// The last hidden state, normalised: [B, S, d].
Id hidden(Builder& b, std::span<const Id> theta, Id tokens, const TransformerModel& m, bool causal,
          const GradientConfig& gradient) {
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
    const auto [queries, keys] = positions_of(b, dtype, shape[1], m.kv_size);
    const Ids consts{queries.cosines, queries.sines, keys.cosines, keys.sines};
    const Ids carry{h};
    const Layout layout{
        .causal = causal,
        .attention_rows = attention_rows(gradient.blocks, shape[1]),
        .feed_forward_rows = feed_forward_rows(gradient.blocks, shape[0] * shape[1], m.ffw),
        .policy = block_policy(gradient.remat)};
    h = b.scan(block_graph(m, dtype, shape, layout), consts, carry,
               theta.subspan(norm1, w2 - norm1 + 1), m.layers, false, layout.policy)
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

Transformer::Transformer(const TransformerModel& config, const GradientConfig& gradient)
    : config_(config), gradient_(gradient) {
  parameters_ = shared_parameters(config);
  parameters_.push_back({.name = "head",
                         .shape = {config.d_model, config.vocab},
                         .init = Init::fan_in,
                         .deviation = 1 / std::sqrt(static_cast<double>(config.d_model))});
}

Id Transformer::outputs(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const {
  const Id h = hidden(b, theta, window(b, fields[0], 0), config_, true, gradient_);
  Builder::Scope scope(b, "head");
  return b.dot(h, theta[last]);
}

// What `terms` makes of logits [rows, V] and targets [rows], one number for each row: [B S].
template <class Terms>
Id Transformer::of_tokens(Builder& b, std::span<const Id> theta, std::span<const Id> fields,
                          const Terms& terms) const {
  const Id h = hidden(b, theta, window(b, fields[0], 0), config_, true, gradient_);
  Builder::Scope scope(b, "cross-entropy");
  const Shape shape = b.shape(h);
  const std::int64_t tokens = shape[0] * shape[1];
  const Ids head{theta[last]};
  const bool named = config_.vocab >= kManyClasses && kSmallPart * num_elements(shape) <= size();
  const Id entering = named ? b.named_cotangent(h, kOutputCotangent) : h;
  const Ids rows{b.reshape(entering, {tokens, shape[2]}),
                 b.reshape(window(b, fields[0], 1), {tokens})};
  return by_rows(b, "head", head, rows, cross_entropy_rows(gradient_.blocks, tokens, config_.vocab),
                 {Policy::Keep::carries, {}},
                 [&](Builder& inner, std::span<const Id> weight, std::span<const Id> x) {
                   return terms(inner, inner.dot(x[0], weight[0]), x[1]);
                 });
}

Id Transformer::token_losses(Builder& b, std::span<const Id> theta,
                             std::span<const Id> fields) const {
  return of_tokens(b, theta, fields, [](Builder& inner, Id logits, Id targets) {
    return loss_terms(inner, Loss::cross_entropy, logits, targets);
  });
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
  return b.mean_all(of_tokens(b, theta, fields, [](Builder& inner, Id logits, Id targets) {
    return hits(inner, Loss::cross_entropy, logits, targets);
  }));
}

ScoreNetwork::ScoreNetwork(const TransformerModel& config, const GradientConfig& gradient)
    : config_(config), gradient_(gradient), parameters_(shared_parameters(config)) {
  parameters_.push_back({.name = "score",
                         .shape = {config.d_model},
                         .init = Init::fan_in,
                         .deviation = 1 / std::sqrt(static_cast<double>(config.d_model))});
}

Id ScoreNetwork::scores(Builder& b, std::span<const Id> phi, std::span<const Id> fields) const {
  Builder::Scope scope(b, "scores");
  const Id h = hidden(b, phi, window(b, fields[0], 0), config_, false, gradient_);
  return b.sum(b.mul(b.mean(h, {1}), phi[last]), {1});
}

}  // namespace mixflow
