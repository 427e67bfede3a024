#include "transform/inline_loops.h"

#include <algorithm>
#include <span>

#include "ops/builder.h"
#include "ops/op_list.h"
#include "transform/rebuild.h"

namespace mixflow {
namespace {

// What is short: iterations of a loop, whose results are put together; values of all iterations of
// a body's loops, those of a loop inside that stays once, most of which are links of elementwise
// chains: a quarter is what a core's second-level cache holds; and nodes that they become.
constexpr std::int64_t kInlinedIterations = 16, kInlinedBytes = 4 * 1024 * 1024,
                       kInlinedNodes = 2048;

std::int64_t bytes_of_values(const Graph& graph) {
  std::int64_t bytes = 0;
  for (const Value& value : graph.values) bytes += value.type.bytes();
  for (const Node& node : graph.nodes) {
    if (node.attrs.region) bytes += bytes_of_values(*node.attrs.region->body);
  }
  return bytes;
}

bool is_candidate(const Node& node) {
  return node.op == &op::k_scan && !node.attrs.region->parallel && node.attrs.region->n > 0;
}

bool has_slices(const Region& region) {
  const Graph& body = *region.body;
  for (std::size_t i = body.inputs.size() - static_cast<std::size_t>(region.num_xs);
       i < body.inputs.size(); ++i) {
    if (body.type(body.inputs[i]).elements() == 0) return false;
  }
  return true;
}

// Whether the loops of this body, those inside them inlined, are so short. All of them or none: a
// loop's stacks would only be put together for the next loop to take apart.
bool are_short(const Graph& graph) {
  std::int64_t bytes = 0, nodes = 0;
  for (const Node& node : graph.nodes) {
    if (!is_candidate(node)) continue;
    const Region& region = *node.attrs.region;
    if (region.n > kInlinedIterations || !has_slices(region)) return false;
    bytes += region.n * bytes_of_values(*region.body);
    nodes += region.n * count_nodes(*region.body);
  }
  return bytes <= kInlinedBytes && nodes <= kInlinedNodes;
}

// x[i] of a stack.
Id slice_of(Builder& b, Id stack, std::int64_t i, const Shape& shape) {
  Shape starts(shape.size() + 1, 0), limits = b.shape(stack);
  starts[0] = i;
  limits[0] = i + 1;
  return b.reshape(b.slice(stack, std::move(starts), std::move(limits)), shape);
}

Ids inline_loop(Builder& b, const Region& region, std::span<const Id> in) {
  const Graph& body = *region.body;
  const auto nc = static_cast<std::size_t>(region.num_consts);
  const auto nk = static_cast<std::size_t>(region.num_carry);
  Ids carry(in.begin() + region.num_consts, in.begin() + region.num_consts + region.num_carry);
  std::vector<Ids> ys(body.outputs.size() - nk, Ids(static_cast<std::size_t>(region.n)));
  for (std::int64_t i = 0; i < region.n; ++i) {
    const std::int64_t index = region.reverse ? region.n - 1 - i : i;
    Ids args(in.begin(), in.begin() + region.num_consts);
    args.insert(args.end(), carry.begin(), carry.end());
    for (std::size_t j = nc + nk; j < in.size(); ++j)
      args.push_back(slice_of(b, in[j], index, body.type(body.inputs[j]).shape));
    const Ids out = b.inline_graph(body, args);
    carry.assign(out.begin(), out.begin() + region.num_carry);
    for (std::size_t j = 0; j < ys.size(); ++j) {
      Shape stacked = b.shape(out[nk + j]);
      stacked.insert(stacked.begin(), 1);
      ys[j][static_cast<std::size_t>(index)] = b.reshape(out[nk + j], std::move(stacked));
    }
  }
  for (const Ids& slices : ys) carry.push_back(b.concat(slices, 0));
  return carry;
}

class InlineLoops {
 public:
  GraphPtr run(const Graph& graph) {
    const GraphPtr inside =
        rebuild(graph, [&](Builder& b, const Node& node, std::span<const Id> in) {
          const RegionPtr& old = node.attrs.region;
          if (!old) return Ids{b.emit(*node.op, in, node.attrs)};
          return b.emit_region(*node.op, in,
                               regions_.get(old, [&] { return with_body(old, run(*old->body)); }));
        });
    if (!are_short(*inside)) return inside;
    return rebuild(*inside, [](Builder& b, const Node& node, std::span<const Id> in) {
      if (is_candidate(node)) return inline_loop(b, *node.attrs.region, in);
      if (node.attrs.region) return b.emit_region(*node.op, in, node.attrs.region);
      return Ids{b.emit(*node.op, in, node.attrs)};
    });
  }

 private:
  RegionCache regions_;
};

}  // namespace

GraphPtr inline_loops(const Graph& graph) { return InlineLoops().run(graph); }

}  // namespace mixflow
