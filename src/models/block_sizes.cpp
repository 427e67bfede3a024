#include "models/block_sizes.h"

#include <algorithm>
#include <optional>

namespace mixflow {
namespace {

constexpr std::int64_t kUnblockedPositions = 128;
constexpr std::int64_t kScoresBytes = std::int64_t{256} << 10;
constexpr std::int64_t kHiddenBytes = std::int64_t{2} << 20;
constexpr std::int64_t kUnblockedLogitsBytes = std::int64_t{8} << 20;
constexpr std::int64_t kLogitsBytes = std::int64_t{64} << 20;
constexpr std::int64_t kFloat = 4;

// The largest power of two whose rows of `row_bytes` take `bytes` or less, in [low, high].
std::int64_t power_of_two(std::int64_t bytes, std::int64_t row_bytes, std::int64_t low,
                          std::int64_t high) {
  std::int64_t rows = low;
  while (2 * rows <= high && 2 * rows <= bytes / row_bytes) rows *= 2;
  return rows;
}

// Of `all` rows, as many as the config says: all (-1), or so many; nothing where it leaves the
// choice (0).
std::optional<std::int64_t> given(std::int64_t rows, std::int64_t all) {
  if (rows == 0) return std::nullopt;
  return rows < 0 ? all : std::min(rows, all);
}

}  // namespace

std::int64_t attention_rows(const BlockSizes& blocks, std::int64_t S) {
  if (const auto rows = given(blocks.attention, S)) return *rows;
  if (S < kUnblockedPositions) return S;
  return power_of_two(kScoresBytes, kFloat * S, 32, S / 4);
}

std::int64_t feed_forward_rows(const BlockSizes& blocks, std::int64_t tokens, std::int64_t ffw) {
  if (const auto rows = given(blocks.feed_forward, tokens)) return *rows;
  const std::int64_t rows =
      power_of_two(kHiddenBytes, kFloat * ffw, 64, std::min<std::int64_t>(tokens / 4, 256));
  return tokens < 4 * rows ? tokens : rows;
}

std::int64_t cross_entropy_rows(const BlockSizes& blocks, std::int64_t tokens, std::int64_t vocab) {
  if (const auto rows = given(blocks.cross_entropy, tokens)) return *rows;
  if (tokens <= kUnblockedLogitsBytes / kFloat / vocab) return tokens;
  return std::min(tokens, power_of_two(kLogitsBytes, kFloat * vocab, 64, 512));
}

std::vector<QueryGroup> query_groups(std::int64_t S, std::int64_t rows, bool causal) {
  std::vector<QueryGroup> groups;
  const std::int64_t blocks = S / rows, count = causal ? std::min(blocks, kMaxGroups) : 1;
  for (std::int64_t g = 0; g < count; ++g) {
    const std::int64_t begin = blocks * g / count, end = blocks * (g + 1) / count;
    groups.push_back({begin * rows, rows, end - begin, causal ? end * rows : S});
  }
  if (S % rows != 0) groups.push_back({blocks * rows, S % rows, 1, S});
  return groups;
}

}  // namespace mixflow
