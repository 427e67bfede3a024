#include "transform/thin_dots.h"

#include <algorithm>
#include <span>
#include <utility>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/rebuild.h"

namespace mixflow {
namespace {

// Matrices of fused kernels whose space is one tile (tile_layout.cpp): there a product with a
// vector costs less than the call of its kernel. Larger ones are up to three times as fast as
// products.
constexpr std::int64_t kThinElements = 2048;

Shape without_last(Shape shape) {
  shape.pop_back();
  return shape;
}

bool ends_in_one(const Shape& shape) { return shape.size() >= 2 && shape.back() == 1; }

// x without its last axis, of one.
Id squeeze(Builder& b, Id x) { return b.reshape(x, without_last(b.shape(x))); }

bool is_elementwise(const Node& node) {
  return node.op->tile != TileOp::none && node.op->tile < TileOp::full;
}

// x [.., M, 1] times y [.., 1, N], or their transposes: only the order of elements counts.
Id outer_product(Builder& b, Id x, Id y, const Shape& shape) {
  const auto rank = static_cast<std::int64_t>(shape.size());
  const Shape rows = without_last(shape);
  if (shape.back() == 1) {
    const Id scales = b.broadcast(b.reshape(y, without_last(rows)), {rank - 2}, rows);
    return b.reshape(b.mul(b.reshape(x, rows), scales), shape);
  }
  Shape columns = rows;
  columns.back() = shape.back();
  const Id left = b.broadcast(b.reshape(x, rows), {rank - 1}, shape);
  const Id right = b.broadcast(b.reshape(y, std::move(columns)), {rank - 2}, shape);
  return b.mul(left, right);
}

// The matrix [R, C] times a vector: over its columns, or over its rows.
Id matrix_vector(Builder& b, Id matrix, Id vector, bool over_columns) {
  const Shape shape = b.shape(matrix);
  const std::int64_t reduced = over_columns ? 1 : 0;
  const Id flat = b.reshape(vector, {shape[over_columns ? 1 : 0]});
  return b.sum(b.mul(matrix, b.broadcast(flat, {1 - reduced}, shape)), {reduced});
}

// The product as elementwise ops and a sum; kNone where it is to stay one.
Id thin_dot(Builder& b, const Node& node, Id x, Id y) {
  const Shape left = b.shape(x), right = b.shape(y);
  const bool trans_a = node.attrs.trans_a, trans_b = node.attrs.trans_b;
  Shape shape = left;
  shape.end()[-2] = trans_a ? left.back() : left.end()[-2];
  shape.back() = trans_b ? right.end()[-2] : right.back();
  const std::int64_t m = shape.end()[-2], n = shape.back();
  const std::int64_t k = trans_a ? left.end()[-2] : left.back();
  // Fused kernels copy what lacks an axis in the middle, as the factors of stacks do.
  const bool is_stack = num_elements({shape.begin(), shape.end() - 2}) > 1;
  if (k == 1 && !is_stack) return outer_product(b, x, y, shape);
  if (shape.size() != 2 || std::max(m, n) * k > kThinElements) return kNone;
  if (m == 1 && n == 1)
    return b.reshape(b.sum(b.mul(b.reshape(x, {k}), b.reshape(y, {k})), {0}), std::move(shape));
  if (n == 1) return b.reshape(matrix_vector(b, x, y, !trans_a), std::move(shape));
  if (m == 1) return b.reshape(matrix_vector(b, y, x, trans_b), std::move(shape));
  return kNone;
}

// The op on operands whose last axis is one, without it; kNone where that does not help.
Id without_unit_axis(Builder& b, const Node& node, std::span<const Id> in, const Shape& out) {
  const auto last = [](const Shape& shape) { return static_cast<std::int64_t>(shape.size()) - 1; };
  Attrs attrs = node.attrs;
  Shape& axes = attrs.axes;
  if (node.op == &op::k_sum) {
    const Shape shape = b.shape(in[0]);
    if (!ends_in_one(shape)) return kNone;
    std::erase(axes, last(shape));
    const Id x = squeeze(b, in[0]);
    return b.reshape(axes.empty() ? x : b.sum(x, std::move(axes)), out);
  }
  if (!ends_in_one(out)) return kNone;
  if (node.op == &op::k_broadcast) {
    const bool added = std::ranges::binary_search(axes, last(out));
    std::erase(axes, last(out));
    const Id x = added ? in[0] : squeeze(b, in[0]);
    return b.reshape(b.broadcast(x, std::move(axes), without_last(out)), out);
  }
  if (!is_elementwise(node)) return kNone;
  Ids squeezed;
  for (const Id x : in) squeezed.push_back(squeeze(b, x));
  return b.reshape(b.emit(*node.op, squeezed, std::move(attrs)), out);
}

class ThinDots {
 public:
  GraphPtr run(const Graph& graph) {
    return rebuild(graph, [&](Builder& b, const Node& node, std::span<const Id> in) {
      if (const RegionPtr& old = node.attrs.region) {
        return b.emit_region(*node.op, in,
                             regions_.get(old, [&] { return with_body(old, run(*old->body)); }));
      }
      const Id made = node.op == &op::k_dot
                          ? thin_dot(b, node, in[0], in[1])
                          : without_unit_axis(b, node, in, graph.type(node.out[0]).shape);
      return Ids{made != kNone ? made : b.emit(*node.op, in, node.attrs)};
    });
  }

 private:
  RegionCache regions_;
};

}  // namespace

GraphPtr thin_dots(const Graph& graph) { return ThinDots().run(graph); }

}  // namespace mixflow
