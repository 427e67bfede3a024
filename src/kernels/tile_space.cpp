#include "kernels/tile_space.h"

#include <algorithm>

#include "util/error.h"

namespace mixflow {
namespace {

AxisMask bit(std::size_t axis) { return AxisMask{1} << axis; }

// Where each axis of the spec goes; -1: dropped.
struct Merge {
  std::vector<std::int64_t> sizes;
  std::vector<int> place;

  AxisMask operator()(AxisMask axes) const {
    AxisMask merged = 0;
    for (std::size_t k = 0; k < place.size(); ++k) {
      if ((axes & bit(k)) != 0 && place[k] >= 0) merged |= bit(static_cast<std::size_t>(place[k]));
    }
    return merged;
  }
};

Merge merge_axes(const FusedSpec& spec) {
  const std::size_t rank = spec.space.size();
  MIXFLOW_CHECK(rank <= kMaxFusedRank, "fused space of too many axes");
  std::vector<AxisMask> masks;
  bool has_rows = false;
  for (const auto& operand : spec.operands) masks.push_back(operand.axes);
  for (const auto& output : spec.outputs) masks.push_back(output.axes);
  for (const auto& instr : spec.instrs) {
    if (instr.op == TileOp::iota) masks.push_back(bit(static_cast<std::size_t>(instr.axis)));
    has_rows |= is_row_reduction(instr.op);
  }
  if (has_rows) {
    MIXFLOW_CHECK(rank > 0, "row reduction in a space of one point");
    masks.push_back(bit(rank - 1));
  }
  Merge merge{{}, std::vector<int>(rank, -1)};
  std::size_t before = rank;  // the axis that was kept last
  for (std::size_t k = 0; k < rank; ++k) {
    if (spec.space[k] == 1 && !(has_rows && k + 1 == rank)) continue;
    const bool same = before < rank && std::ranges::all_of(masks, [&](AxisMask mask) {
                        return ((mask >> before) & 1u) == ((mask >> k) & 1u);
                      });
    if (same) {
      merge.sizes.back() *= spec.space[k];
    } else {
      merge.sizes.push_back(spec.space[k]);
    }
    merge.place[k] = static_cast<int>(merge.sizes.size()) - 1;
    before = k;
  }
  if (merge.sizes.empty()) merge.sizes.push_back(1);
  return merge;
}

TileLevel level_of(const TileSpace& space, AxisMask axes, bool reduced) {
  if ((axes & space.inner()) != 0) return TileLevel::element;
  return axes != 0 || reduced ? TileLevel::row : TileLevel::uniform;
}

void find_reversed(const FusedSpec& spec, TileSpace& space) {
  const auto reverses = [](const auto& instr) { return instr.op == TileOp::reverse; };
  if (std::ranges::none_of(spec.instrs, reverses)) return;
  const std::size_t rank = spec.space.size();
  MIXFLOW_CHECK(rank >= 2, "reverse in a space of less than two axes");
  space.reversed_row = spec.space[rank - 1];
  space.reversed = spec.space[rank - 2] * space.reversed_row;
  MIXFLOW_CHECK(
      space.reversed > 0 && space.reversed <= kMostReversed && space.cols % space.reversed == 0,
      "reverse along an axis that values tell from the last");
}

// A sum over the columns alone is a row reduction and the store of its result.
void find_row_sums(TileSpace& space) {
  if (space.rows == 1) return;
  for (auto& output : space.outputs) {
    if (!output.sum || output.axes != space.outer()) continue;
    space.instrs.push_back({.op = TileOp::sum, .a = output.value});
    output = {.value = static_cast<std::int32_t>(space.operands.size() + space.instrs.size()) - 1,
              .axes = space.outer()};
  }
}

void find_values(TileSpace& space) {
  for (const auto& operand : space.operands) {
    space.values.push_back({.axes = operand.axes, .level = level_of(space, operand.axes, false)});
  }
  for (const auto& instr : space.instrs) {
    TileValue value;
    bool reduced = is_row_reduction(instr.op);
    if (instr.op == TileOp::iota)
      value.axes = bit(static_cast<std::size_t>(instr.axis)) & space.all();
    for (const std::int32_t in : {instr.a, instr.b, instr.c}) {
      if (in < 0) continue;
      MIXFLOW_CHECK(static_cast<std::size_t>(in) < space.values.size(),
                    "fused instructions are out of order");
      const TileValue& from = space.value(in);
      value.axes |= from.axes;
      value.stage = std::max(value.stage, from.stage);
      reduced |= from.stage > 0;
    }
    if (is_row_reduction(instr.op)) {
      value.axes &= space.outer();
      ++value.stage;
    }
    if (instr.op == TileOp::reverse) value.axes = space.all();
    value.level = level_of(space, value.axes, reduced);
    space.values.push_back(value);
  }
}

void find_needed(TileSpace& space) {
  for (const auto& output : space.outputs)
    space.values[static_cast<std::size_t>(output.value)].needed = true;
  for (std::size_t i = space.instrs.size(); i-- > 0;) {
    if (!space.values[space.operands.size() + i].needed) continue;
    for (const std::int32_t in : {space.instrs[i].a, space.instrs[i].b, space.instrs[i].c}) {
      if (in >= 0) space.values[static_cast<std::size_t>(in)].needed = true;
    }
  }
}

struct Pair {
  TileOp first, second;
  bool swapped;  // the first op's result is the second's right operand
  TileOp both;
};
constexpr Pair kPairs[] = {
    {TileOp::mul, TileOp::add, false, TileOp::mul_add},
    {TileOp::mul, TileOp::add, true, TileOp::mul_add},
    {TileOp::mul, TileOp::sub, false, TileOp::mul_sub},
    {TileOp::mul, TileOp::sub, true, TileOp::sub_mul},
    {TileOp::mul, TileOp::mul, false, TileOp::mul_mul},
    {TileOp::mul, TileOp::mul, true, TileOp::mul_mul},
    {TileOp::add, TileOp::mul, false, TileOp::sum_mul},
    {TileOp::add, TileOp::mul, true, TileOp::sum_mul},
    {TileOp::sub, TileOp::mul, false, TileOp::diff_mul},
    {TileOp::sub, TileOp::mul, true, TileOp::diff_mul},
    {TileOp::add, TileOp::add, false, TileOp::add_add},
    {TileOp::add, TileOp::add, true, TileOp::add_add},
    {TileOp::sub, TileOp::add, false, TileOp::diff_add},
    {TileOp::sub, TileOp::add, true, TileOp::diff_add},
};

// An arithmetic op whose result only the next one reads becomes one op with it: a pass over the
// tile costs more in loads and stores than in arithmetic.
void pair_instrs(TileSpace& space) {
  const std::size_t operands = space.operands.size();
  std::vector<int> uses(space.values.size(), 0);
  for (std::size_t i = 0; i < space.instrs.size(); ++i) {
    if (!space.values[operands + i].needed) continue;
    for (const std::int32_t in : {space.instrs[i].a, space.instrs[i].b, space.instrs[i].c}) {
      if (in >= 0) ++uses[static_cast<std::size_t>(in)];
    }
  }
  for (const auto& output : space.outputs) ++uses[static_cast<std::size_t>(output.value)];
  // As a product: of itself, for a square.
  const auto arithmetic = [](FusedSpec::Instr instr) {
    if (instr.op == TileOp::square) {
      instr.op = TileOp::mul;
      instr.b = instr.a;
    }
    return instr;
  };
  for (std::size_t i = 0; i < space.instrs.size(); ++i) {
    FusedSpec::Instr& second = space.instrs[i];
    const TileValue& value = space.values[operands + i];
    if (!value.needed || value.level != TileLevel::element || second.b < 0) continue;
    for (const bool swapped : {false, true}) {
      const std::int32_t inner = swapped ? second.b : second.a;
      if (space.is_operand(inner) || uses[static_cast<std::size_t>(inner)] != 1) continue;
      if (space.value(inner).level != TileLevel::element) continue;
      const FusedSpec::Instr first = arithmetic(space.instr(inner));
      const auto* pair = std::ranges::find_if(kPairs, [&](const Pair& p) {
        return p.first == first.op && p.second == second.op && p.swapped == swapped;
      });
      if (pair == std::end(kPairs)) continue;
      second = {.op = pair->both, .a = first.a, .b = first.b, .c = swapped ? second.a : second.b};
      break;
    }
  }
  for (TileValue& value : space.values) value.needed = false;
  find_needed(space);
}

}  // namespace

TileSpace make_tile_space(const FusedSpec& spec) {
  const Merge merge = merge_axes(spec);
  TileSpace space{.sizes = merge.sizes,
                  .operands = spec.operands,
                  .instrs = spec.instrs,
                  .outputs = spec.outputs};
  space.cols = space.sizes.back();
  for (std::size_t k = 0; k + 1 < space.sizes.size(); ++k) space.rows *= space.sizes[k];
  for (auto& operand : space.operands) operand.axes = merge(operand.axes);
  for (auto& instr : space.instrs) {
    if (instr.op != TileOp::iota) continue;
    instr.axis = merge.place[static_cast<std::size_t>(instr.axis)];
    if (instr.axis < 0) instr = {.op = TileOp::full};  // along an axis of one element
  }
  for (auto& output : space.outputs) {
    output.axes = merge(output.axes);
    // Nothing but axes of one element is summed over, if that.
    const bool whole = output.axes == space.all() || space.rows * space.cols == 1;
    if (output.sum && whole) output = {.value = output.value, .axes = space.all()};
  }
  find_reversed(spec, space);
  find_row_sums(space);
  find_values(space);
  find_needed(space);
  pair_instrs(space);
  return space;
}

}  // namespace mixflow
