// Decoder-only transformer of Chinchilla's shapes (Hoffmann et al. 2022) with rotary positions (Su
// et al. 2021), as in the benchmarks of MixFlow-MG:
//
//   h = E[x];  per block:
//     a = RMSNorm(h; norm1);  q, k, v = a wq, a wk, a wv;  rotary positions on q and k
//     p = softmax(q k^T / sqrt(K)), causal;           h += concat over heads(p v) wo
//     m = RMSNorm(h; norm2);                          h += gelu(m w1) w2, by the tanh formula
//   logits = RMSNorm(h; norm) head
//
// RMSNorm(h; g) = h / sqrt(mean(h^2) + 1e-6) g. Rotary positions turn the pair (j, j + K/2) of a
// head by position * 10000^(-j / (K/2)), positions from 0. No biases. Tensors: embed [V,d],
// blocks.{norm1,norm2} [L,d], blocks.{wq,wk,wv} [L,d,H K], blocks.wo [L,H K,d], blocks.w1 [L,d,f],
// blocks.w2 [L,f,d], norm [d], then head [d,V] (Transformer) or score [d] (ScoreNetwork). The L
// blocks are one scan over these stacks, so that graph size does not depend on L; what the scan
// keeps for the backward pass is `gradient.remat`'s choice. Attention is a map over heads and
// blocks of queries, feed-forward layers and the output layer with its loss are maps over blocks of
// tokens, of `gradient.blocks` rows. Where shapes are cut into blocks, neither scores of S x S nor
// logits of all tokens are stored, at any order of differentiation.
#pragma once

#include "models/model.h"

namespace mixflow {

// Next-token prediction. Field: tokens i32 [B, S+1]; the first S are read, the last S predicted.
class Transformer final : public Model {
 public:
  Transformer(const TransformerModel& config, const GradientConfig& gradient);

  // Logits [B, S, V].
  Id outputs(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const override;
  Id loss(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const override;
  Id example_losses(Builder& b, std::span<const Id> theta,
                    std::span<const Id> fields) const override;
  // Share of the tokens that have the largest logit.
  Id accuracy(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const override;
  bool classifies() const override { return true; }

 private:
  template <class Terms>
  Id of_tokens(Builder& b, std::span<const Id> theta, std::span<const Id> fields,
               const Terms& terms) const;
  Id token_losses(Builder& b, std::span<const Id> theta, std::span<const Id> fields) const;

  const TransformerModel config_;
  const GradientConfig gradient_;
};

// phi(x) [B]: a score for each example of a batch, from the same network without the causal mask:
// mean over positions of RMSNorm(h), dot `score` (DataRater, Calian et al. 2025).
class ScoreNetwork {
 public:
  ScoreNetwork(const TransformerModel& config, const GradientConfig& gradient);

  const std::vector<Parameter>& parameters() const { return parameters_; }
  Id scores(Builder& b, std::span<const Id> phi, std::span<const Id> fields) const;

 private:
  const TransformerModel config_;
  const GradientConfig gradient_;
  std::vector<Parameter> parameters_;
};

}  // namespace mixflow
