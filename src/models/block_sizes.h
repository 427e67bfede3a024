// How attention, feed-forward layers and the output layer are cut into blocks, from shapes alone: a
// plan is the same on every machine. A block's scores fit into a core's L2 cache of 1 MiB or more;
// hidden units and logits take more room, since products of few rows are slow.
#pragma once

#include <cstdint>
#include <vector>

#include "config/config.h"

namespace mixflow {

// Queries in a block of attention over S positions; S: no blocks. Chosen (0 in `blocks`): none
// below 128 positions, else the largest power of two whose scores, rows x S floats, take 256 KiB,
// but at least 32 and at most S / 4.
std::int64_t attention_rows(const BlockSizes& blocks, std::int64_t S);

// Tokens in a block of the feed-forward layers; `tokens`: no blocks. Chosen (0 in `blocks`): the
// largest power of two whose hidden units take 2 MiB, at least 64 and at most 256, of which there
// are four blocks or more; no blocks below 256 tokens. More rows make better products of the
// weights' gradients, fewer save memory.
std::int64_t feed_forward_rows(const BlockSizes& blocks, std::int64_t tokens, std::int64_t ffw);

// Tokens in a block of the output layer; `tokens`: no blocks. Chosen (0 in `blocks`): none where
// all logits take 8 MiB or less, else the largest power of two whose logits take 64 MiB, at least
// 64 and at most 512, for the same reasons.
std::int64_t cross_entropy_rows(const BlockSizes& blocks, std::int64_t tokens, std::int64_t vocab);

// Blocks of queries, of equal size, that read the same keys: [0, keys).
struct QueryGroup {
  std::int64_t first = 0;  // position of the first query
  std::int64_t rows = 0, blocks = 0;
  std::int64_t keys = 0;
};

// All S queries in blocks of `rows`, and one with what is left. Causal: at most kMaxGroups groups,
// each of which reads the keys up to its last query; of n groups the keys read are (n + 1) / 2n.
inline constexpr std::int64_t kMaxGroups = 4;
std::vector<QueryGroup> query_groups(std::int64_t S, std::int64_t rows, bool causal);

}  // namespace mixflow
