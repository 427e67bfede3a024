#include "transform/reach.h"

#include <algorithm>
#include <utility>

#include "ops/op_list.h"
#include "util/index.h"

namespace mixflow {
namespace {

constexpr std::size_t kWord = 64;

}  // namespace

BitRows::BitRows(std::size_t rows, std::size_t columns)
    : rows_(rows), columns_(columns), words_((columns + kWord - 1) / kWord), bits_(rows * words_) {}

bool BitRows::get(std::size_t row, std::size_t column) const {
  return (bits_[row * words_ + column / kWord] >> (column % kWord) & 1u) != 0;
}

void BitRows::set(std::size_t row, std::size_t column) {
  bits_[row * words_ + column / kWord] |= std::uint64_t{1} << (column % kWord);
}

bool BitRows::merge(std::size_t row, const BitRows& from, std::size_t other) {
  bool changed = false;
  for (std::size_t w = 0; w < words_; ++w) {
    std::uint64_t& word = bits_[row * words_ + w];
    const std::uint64_t merged = word | from.bits_[other * words_ + w];
    changed |= merged != word;
    word = merged;
  }
  return changed;
}

bool BitRows::any(std::size_t row, const Mask& columns) const {
  for (std::size_t i = 0; i < columns_; ++i) {
    if (columns[i] && get(row, i)) return true;
  }
  return false;
}

void Reach::propagate(const Graph& graph, BitRows& rows) {
  for (const Node& node : graph.nodes) {
    if (has_deriv<NonDiff>(*node.op)) continue;
    const RegionReach* region =
        node.attrs.region ? &of_region(*node.op, node.attrs.region) : nullptr;
    for (std::size_t j = 0; j < node.out.size(); ++j) {
      if (!is_float(graph.type(node.out[j]).dtype)) continue;
      for (std::size_t i = 0; i < node.in.size(); ++i) {
        if (region != nullptr && !region->outputs.get(j, i)) continue;
        rows.merge(index(node.out[j]), rows, index(node.in[i]));
      }
    }
  }
}

BitRows Reach::of_graph(const Graph& graph) {
  BitRows values(graph.values.size(), graph.inputs.size());
  for (std::size_t i = 0; i < graph.inputs.size(); ++i) {
    if (is_float(graph.type(graph.inputs[i]).dtype)) values.set(index(graph.inputs[i]), i);
  }
  propagate(graph, values);
  BitRows outputs(graph.outputs.size(), graph.inputs.size());
  for (std::size_t j = 0; j < graph.outputs.size(); ++j) {
    outputs.merge(j, values, index(graph.outputs[j]));
  }
  return outputs;
}

const RegionReach& Reach::of_region(const OpDef& op, const std::shared_ptr<const Region>& region) {
  if (const auto found = known_.find(region); found != known_.end()) return found->second;
  return known_.emplace(region, analyse(op, *region)).first->second;
}

RegionReach Reach::analyse(const OpDef& op, const Region& region) {
  RegionReach reach;
  reach.body = of_graph(*region.body);
  const BitRows& body = reach.body;
  const std::size_t consts = index(region.num_consts), carry = index(region.num_carry);
  if (&op == &op::k_scan) {
    reach.carry = BitRows(carry, body.columns());
    reach.outputs = BitRows(body.rows(), body.columns());
    BitRows own(body.columns(), body.columns());
    for (std::size_t i = 0; i < body.columns(); ++i) own.set(i, i);
    for (std::size_t k = 0; k < carry; ++k) reach.carry.merge(k, own, consts + k);
    const auto add_iteration = [&](BitRows& rows, std::size_t j) {
      bool changed = false;
      for (std::size_t i = 0; i < body.columns(); ++i) {
        if (!body.get(j, i)) continue;
        const bool carried = i >= consts && i < consts + carry;
        changed |= carried ? rows.merge(j, reach.carry, i - consts) : rows.merge(j, own, i);
      }
      return changed;
    };
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t k = 0; k < carry; ++k) changed |= add_iteration(reach.carry, k);
    }
    for (std::size_t j = 0; j < body.rows(); ++j) {
      if (j < carry) reach.outputs.merge(j, reach.carry, j);
      if (j >= carry) add_iteration(reach.outputs, j);
    }
    return reach;
  }
  if (&op == &op::k_map) {
    reach.outputs = BitRows(body.rows(), body.columns() + carry);
    for (std::size_t j = 0; j < body.rows(); ++j) {
      if (j < carry) reach.outputs.set(j, consts + j);
      for (std::size_t i = 0; i < body.columns(); ++i) {
        if (body.get(j, i)) reach.outputs.set(j, i < consts ? i : i + carry);
      }
    }
    return reach;
  }
  if (&op == &op::k_grad) {
    // Every gradient may depend on whatever the loss does; one that is a constant says nothing.
    reach.outputs = BitRows(1 + carry, body.columns());
    const std::size_t rows = region.grad_mode == GradMode::first_order ? 1 : 1 + carry;
    for (std::size_t j = 0; j < rows; ++j) reach.outputs.merge(j, body, 0);
    return reach;
  }
  reach.outputs = body;
  return reach;
}

}  // namespace mixflow
