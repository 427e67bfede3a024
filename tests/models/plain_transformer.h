// The transformer by plain loops over one example, in double precision: what the graphs are tested
// against. Written from the equations alone, token by token and head by head.
#pragma once

#include <cmath>
#include <cstddef>
#include <map>
#include <numbers>
#include <string>
#include <vector>

#include "config/config.h"
#include "ops/reference.h"

namespace mixflow {

using Row = std::vector<double>;
using Rows = std::vector<Row>;  // one per position

struct PlainTransformer {
  TransformerModel sizes;
  std::map<std::string, Tensor64> weights;  // by name, stacks of blocks whole
  bool causal = true;

  // Weights `name` of one layer.
  const double* of(const std::string& name, std::int64_t layer, std::int64_t elements) const {
    return weights.at(name).data() + layer * elements;
  }

  static Row normed(const Row& h, const double* gain) {
    double square = 0;
    for (const double x : h) square += x * x / static_cast<double>(h.size());
    Row y;
    for (std::size_t i = 0; i < h.size(); ++i)
      y.push_back(h[i] / std::sqrt(square + 1e-6) * gain[i]);
    return y;
  }

  static Row times(const Row& x, const double* w, std::int64_t out) {
    const auto columns = static_cast<std::size_t>(out);
    Row y(columns);
    for (std::size_t j = 0; j < columns; ++j) {
      for (std::size_t i = 0; i < x.size(); ++i) y[j] += x[i] * w[i * columns + j];
    }
    return y;
  }

  // Turns each head of q or k of the token at `position`.
  void turn(Row& x, std::size_t position) const {
    const auto half = static_cast<std::size_t>(sizes.kv_size / 2);
    for (std::size_t head = 0; head < x.size(); head += 2 * half) {
      for (std::size_t j = 0; j < half; ++j) {
        const double angle = static_cast<double>(position) *
                             std::pow(10000.0, -static_cast<double>(j) / static_cast<double>(half));
        const double a = x[head + j], b = x[head + j + half];
        x[head + j] = a * std::cos(angle) - b * std::sin(angle);
        x[head + j + half] = a * std::sin(angle) + b * std::cos(angle);
      }
    }
  }

  // What the heads read, side by side, for the token at `position`.
  Row attended(const Row& q, const Rows& k, const Rows& v, std::size_t position) const {
    const auto width = static_cast<std::size_t>(sizes.kv_size);
    const std::size_t visible = causal ? position + 1 : k.size();
    Row result(q.size());
    for (std::size_t head = 0; head < q.size(); head += width) {
      Row weight(visible);
      double total = 0;
      for (std::size_t s = 0; s < visible; ++s) {
        double score = 0;
        for (std::size_t j = head; j < head + width; ++j) score += q[j] * k[s][j];
        weight[s] = std::exp(score / std::sqrt(static_cast<double>(width)));
        total += weight[s];
      }
      for (std::size_t s = 0; s < visible; ++s) {
        for (std::size_t j = head; j < head + width; ++j) result[j] += weight[s] / total * v[s][j];
      }
    }
    return result;
  }

  void block(Rows& h, std::int64_t layer) const {
    const std::int64_t d = sizes.d_model, hk = sizes.heads * sizes.kv_size, f = sizes.ffw;
    Rows q, k, v;
    for (std::size_t s = 0; s < h.size(); ++s) {
      const Row a = normed(h[s], of("blocks.norm1", layer, d));
      q.push_back(times(a, of("blocks.wq", layer, d * hk), hk));
      k.push_back(times(a, of("blocks.wk", layer, d * hk), hk));
      v.push_back(times(a, of("blocks.wv", layer, d * hk), hk));
      turn(q.back(), s);
      turn(k.back(), s);
    }
    for (std::size_t s = 0; s < h.size(); ++s) {
      const Row mixed = times(attended(q[s], k, v, s), of("blocks.wo", layer, hk * d), d);
      for (std::size_t i = 0; i < mixed.size(); ++i) h[s][i] += mixed[i];
      Row wide =
          times(normed(h[s], of("blocks.norm2", layer, d)), of("blocks.w1", layer, d * f), f);
      for (double& x : wide) {
        x *= 0.5 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
      }
      const Row narrow = times(wide, of("blocks.w2", layer, f * d), d);
      for (std::size_t i = 0; i < narrow.size(); ++i) h[s][i] += narrow[i];
    }
  }

  // Normalised hidden states of the tokens that are read.
  Rows hidden(const std::vector<int>& read) const {
    Rows h;
    for (const int token : read) {
      const double* row = of("embed", token, sizes.d_model);
      h.emplace_back(row, row + sizes.d_model);
    }
    for (std::int64_t layer = 0; layer < sizes.layers; ++layer) block(h, layer);
    for (Row& row : h) row = normed(row, of("norm", 0, 0));
    return h;
  }

  Rows logits(const std::vector<int>& read) const {
    Rows result;
    for (const Row& h : hidden(read)) result.push_back(times(h, of("head", 0, 0), sizes.vocab));
    return result;
  }

  double score(const std::vector<int>& read) const {
    double total = 0;
    for (const Row& h : hidden(read)) total += times(h, of("score", 0, 0), 1)[0];
    return total / static_cast<double>(read.size());
  }
};

}  // namespace mixflow
