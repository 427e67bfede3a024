// Which values depend on which, through differentiable ops: the bits that jvp and vjp need before
// they build anything. Bits only, bodies once: a body's answer is a matrix (outputs by inputs) and
// a loop's fixpoint is taken on the matrix, so nested loops cost the sum of their bodies, not a
// power of the nesting depth.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "graph/graph.h"
#include "graph/op.h"
#include "transform/liveness.h"

namespace mixflow {

// A dense matrix of bits.
class BitRows {
 public:
  BitRows() = default;
  BitRows(std::size_t rows, std::size_t columns);

  std::size_t rows() const { return rows_; }
  std::size_t columns() const { return columns_; }
  bool get(std::size_t row, std::size_t column) const;
  void set(std::size_t row, std::size_t column);
  // row |= row `other` of `from`, which has as many columns. Returns whether the row changed.
  bool merge(std::size_t row, const BitRows& from, std::size_t other);
  // Does the row have a bit inside `columns`?
  bool any(std::size_t row, const Mask& columns) const;

 private:
  std::size_t rows_ = 0, columns_ = 0, words_ = 0;
  std::vector<std::uint64_t> bits_;
};

// A structural node's dependences. Columns are the node's inputs, in order.
struct RegionReach {
  BitRows outputs;  // one row per output of the node
  BitRows carry;    // scan: one row per carry, as any iteration may find it at its start
  BitRows body;     // one row per output of the body, one column per input of the body
};

class Reach {
 public:
  // Completes `rows` (one per value of the graph, preset where columns begin) in the order of the
  // nodes. i32 values depend on nothing.
  void propagate(const Graph& graph, BitRows& rows);
  // Outputs by inputs of a graph.
  BitRows of_graph(const Graph& graph);
  // Remembered by region, which is kept alive.
  const RegionReach& of_region(const OpDef& op, const std::shared_ptr<const Region>& region);

 private:
  RegionReach analyse(const OpDef& op, const Region& region);

  std::map<std::shared_ptr<const Region>, RegionReach> known_;
};

}  // namespace mixflow
