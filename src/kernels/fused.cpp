// The compiler of fused kernels: from values over the space to steps over tiles.
#include "kernels/fused.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "kernels/tile_code.h"
#include "kernels/tile_layout.h"
#include "kernels/tile_ops.h"
#include "kernels/tile_program.h"
#include "kernels/tile_slots.h"
#include "kernels/tile_space.h"
#include "util/error.h"
#include "util/index.h"

namespace mixflow {
namespace {

using Kind = TileStep::Kind;
using Id = std::int32_t;

// Tiles that hold rows whole may use this much of L2.
constexpr std::int64_t kResidentFloats = 16 * 1024;
constexpr std::int32_t kUnused = TileSlots::kUnused;

// An operand of a step: floats, or one float for all.
struct Access {
  TileRef ref{kUnused, 0};
  bool splat = false;
};

class Compiler {
 public:
  // resident: rows are held whole in tiles, so that nothing is computed twice; else a row with
  // reductions is swept once per stage, and what later sweeps need is computed again.
  Compiler(const FusedSpec& spec, const TileSpace& space, bool resident)
      : spec_(spec),
        space_(space),
        resident_(resident),
        program_(lay_out_tiles(space, spec.threads, resident)) {}

  TileProgram compile() {
    place_.assign(space_.values.size(), {});
    for (std::size_t s = 0; s < phase_count(); ++s) add_phase(static_cast<int>(s));
    add_stores();
    write_outputs_directly();
    slots_.place(program_);
    tile_floats_ = program_.scratch_floats;
    place_tile_sums(program_);
    return std::move(program_);
  }

  // Memory that tiles of this program take.
  std::int64_t tile_floats() const { return tile_floats_; }

 private:
  // Where a value is to be found, as far as steps have been made for it.
  struct Place {
    TileRef element{kUnused, 0};
    TileRef row{kUnused, 0};
  };

  std::int64_t tile() const { return program_.tile_rows * program_.chunk; }

  // --- buffers

  std::int32_t input_base(Id operand) const { return 2 + operand; }
  std::int32_t output_base(std::size_t output) const {
    return static_cast<std::int32_t>(2 + space_.operands.size() + output);
  }
  const TileBase& base(std::int32_t i) const { return program_.bases[index(i)]; }

  TileRef constant(float value) {
    auto& constants = program_.constants;
    std::size_t i = 0;
    while (i < constants.size() && !(constants[i] == value)) ++i;
    if (i == constants.size()) constants.push_back(value);
    return {1, static_cast<std::int64_t>(i)};
  }

  // --- phases

  // The stages of values that are swept over elements end here; -1: there are none.
  int last_sweep() const {
    int last = -1;
    for (std::size_t i = 0; i < space_.instrs.size(); ++i) {
      const auto& instr = space_.instrs[i];
      if (!space_.values[space_.operands.size() + i].needed || !is_row_reduction(instr.op))
        continue;
      last = std::max(last, space_.value(instr.a).stage);
    }
    for (const auto& output : space_.outputs) {
      if (output.sum || output.axes == space_.all())
        last = std::max(last, space_.value(output.value).stage);
    }
    return last;
  }

  std::size_t phase_count() const {
    int last = std::max(0, last_sweep());
    for (const TileValue& value : space_.values) {
      if (value.needed && value.level != TileLevel::element) last = std::max(last, value.stage);
    }
    return index(last + 1);
  }

  // Which values the sweep of a stage needs by element.
  std::vector<bool> swept(int stage) const {
    std::vector<bool> needed(space_.values.size(), false);
    for (std::size_t i = 0; i < space_.instrs.size(); ++i) {
      const auto& instr = space_.instrs[i];
      if (!space_.values[space_.operands.size() + i].needed || !is_row_reduction(instr.op))
        continue;
      if (space_.value(instr.a).stage == stage) needed[index(instr.a)] = true;
    }
    for (const auto& output : space_.outputs) {
      const bool by_element = output.sum || output.axes == space_.all();
      if (by_element && stage == last_sweep()) needed[index(output.value)] = true;
    }
    for (std::size_t i = space_.instrs.size(); i-- > 0;) {
      const std::size_t id = space_.operands.size() + i;
      if (!needed[id] || space_.values[id].level != TileLevel::element) continue;
      for (const Id in : {space_.instrs[i].a, space_.instrs[i].b, space_.instrs[i].c}) {
        if (in >= 0) needed[index(in)] = true;
      }
    }
    return needed;
  }

  void add_phase(int stage) {
    program_.phases.emplace_back();
    phase_ = &program_.phases.back();
    if (!resident_ && stage <= last_sweep()) {
      // What an earlier sweep had in its tiles is gone; what was loaded once per run stays.
      for (Place& place : place_) {
        if (TileSlots::is_slot(place.element) && !slots_.is_kept(place.element))
          place.element = {kUnused, 0};
      }
    }
    const auto first = static_cast<Id>(space_.operands.size());
    const auto end = static_cast<Id>(space_.values.size());
    for (Id id = first; id < end; ++id) {
      const TileValue& value = space_.value(id);
      const TileOp op = space_.instr(id).op;
      if (!value.needed || value.level == TileLevel::element || value.stage != stage) continue;
      if (!is_row_reduction(op) && !is_source(op)) add_small(id);
    }
    const std::vector<bool> needed = swept(stage);
    for (Id id = first; id < end; ++id) {
      const TileValue& value = space_.value(id);
      const FusedSpec::Instr& instr = space_.instr(id);
      if (is_row_reduction(instr.op)) {
        if (value.needed && space_.value(instr.a).stage == stage) add_reduction(id);
      } else if (needed[index(id)] && value.level == TileLevel::element && !is_source(instr.op) &&
                 place_[index(id)].element.base == kUnused) {
        place_[index(id)].element =
            instr.op == TileOp::reverse
                ? add_reverse(instr.a)
                : add_op(phase_->chunk_steps, Kind::elements, id, TileLevel::element);
      }
    }
  }

  // A value per row, or one for the whole run.
  void add_small(Id id) {
    const TileLevel level = space_.value(id).level;
    const bool uniform = level == TileLevel::uniform;
    auto& steps = uniform ? program_.prologue : phase_->row_steps;
    place_[index(id)].row = add_op(steps, uniform ? Kind::once : Kind::rows, id, level);
  }

  TileRef add_op(std::vector<TileStep>& steps, Kind kind, Id id, TileLevel level) {
    const FusedSpec::Instr& instr = space_.instr(id);
    std::array<Access, 3> in;
    const std::array<Id, 3> ids{instr.a, instr.b, instr.c};
    unsigned splats = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      if (ids[k] < 0) continue;
      in[k] = access(ids[k], level);
      if (in[k].splat) splats |= 1u << k;
    }
    TileFn fn = tile_fn(instr.op, splats);
    for (std::size_t k = 0; k < 3 && fn == nullptr; ++k) {
      if (!in[k].splat) continue;
      in[k] = {filled(steps, kind, in[k].ref), false};
      splats &= ~(1u << k);
      fn = tile_fn(instr.op, splats);
    }
    MIXFLOW_CHECK(fn != nullptr, "no tile function for a fused instruction");
    const TileRef dst = slots_.add(floats_of(kind), kind != Kind::elements);
    steps.push_back({.kind = kind,
                     .op = instr.op,
                     .splats = splats,
                     .fn = fn,
                     .dst = dst,
                     .a = in[0].ref,
                     .b = in[1].ref,
                     .c = in[2].ref});
    return dst;
  }

  std::int64_t floats_of(Kind kind) const {
    if (kind == Kind::elements) return tile();
    return kind == Kind::rows ? program_.tile_rows : 1;
  }

  // A slot with one float everywhere.
  TileRef filled(std::vector<TileStep>& steps, Kind kind, const TileRef& from) {
    const TileRef dst = slots_.add(floats_of(kind), kind != Kind::elements);
    steps.push_back(copy_step(kind, dst, {from, true}));
    return dst;
  }

  static TileStep copy_step(Kind kind, const TileRef& dst, const Access& from) {
    const unsigned splats = from.splat ? kSplatA : kSplatNone;
    const TileFn fn = tile_fn(TileOp::copy, splats);
    return {.kind = kind,
            .op = TileOp::copy,
            .splats = splats,
            .fn = fn,
            .dst = dst,
            .a = from.ref,
            .b = {kUnused, 0},
            .c = {kUnused, 0}};
  }

  void add_reduction(Id id) {
    const FusedSpec::Instr& instr = space_.instr(id);
    const bool is_sum = instr.op == TileOp::sum;
    const bool more = program_.chunk < space_.cols;
    const TileRef dst = slots_.add(program_.tile_rows, true);
    if (more) {
      const float start = is_sum ? 0.0f : -std::numeric_limits<float>::infinity();
      phase_->row_steps.push_back(copy_step(Kind::rows, dst, {constant(start), true}));
    }
    const RowFns& fns = row_fns();
    const RowFn fn = is_sum ? (more ? fns.sum_more : fns.sum) : (more ? fns.max_more : fns.max);
    add_row_op(phase_->chunk_steps, fn, dst, whole(instr.a));
    place_[index(id)].row = dst;
  }

  TileRef add_reverse(Id from) {
    const TileRef source = whole(from);
    const TileRef dst = slots_.add(tile(), false);
    phase_->chunk_steps.push_back(
        {.kind = Kind::reverse, .dst = dst, .a = source, .b = {kUnused, 0}, .c = {kUnused, 0}});
    return dst;
  }

  static void add_row_op(std::vector<TileStep>& steps, RowFn fn, const TileRef& dst,
                         const TileRef& from) {
    steps.push_back({.kind = Kind::row_op,
                     .row_fn = fn,
                     .dst = dst,
                     .a = from,
                     .b = {kUnused, 0},
                     .c = {kUnused, 0}});
  }

  // --- operands of steps

  // A value as steps at `level` read it.
  Access access(Id id, TileLevel level) {
    if (level == TileLevel::element) return by_element(id);
    const bool splat = level == TileLevel::row && space_.value(id).level == TileLevel::uniform;
    return {by_row(id), splat};
  }

  // One float per row, or one in all.
  TileRef by_row(Id id) {
    TileRef& place = place_[index(id)].row;
    if (place.base != kUnused) return place;
    if (space_.is_operand(id)) {
      const std::int32_t from = input_base(id);
      if (base(from).outer.empty()) return place = {from, 0};
      place = slots_.add(program_.tile_rows, true);
      add_source({.kind = Kind::load_points, .dst = place, .index = from});
      return place;
    }
    const FusedSpec::Instr& instr = space_.instr(id);
    if (instr.op == TileOp::full) return place = constant(static_cast<float>(instr.imm));
    MIXFLOW_CHECK(instr.op == TileOp::iota, "fused value is used before it is known");
    TileProgram::Iota iota{.stride = 1, .size = space_.sizes[index(instr.axis)]};
    for (std::size_t k = index(instr.axis) + 1; k + 1 < space_.sizes.size(); ++k)
      iota.stride *= space_.sizes[k];
    place = slots_.add(program_.tile_rows, true);
    add_source({.kind = Kind::iota_rows,
                .dst = place,
                .index = static_cast<std::int32_t>(program_.iotas.size())});
    program_.iotas.push_back(iota);
    return place;
  }

  void add_source(TileStep step) {
    step.a = step.b = step.c = {kUnused, 0};
    program_.phases.front().row_steps.push_back(step);
  }

  Access by_element(Id id) {
    const TileValue& value = space_.value(id);
    if (value.level == TileLevel::uniform) return {by_row(id), true};
    if (value.level == TileLevel::row && program_.tile_rows == 1) return {by_row(id), true};
    TileRef& place = place_[index(id)].element;
    if (place.base != kUnused) return {place, false};
    if (value.level == TileLevel::row) {
      const TileRef from = by_row(id);
      place = slots_.add(tile(), false);
      add_row_op(phase_->chunk_steps, row_fns().expand, place, from);
    } else if (space_.is_operand(id)) {
      place = load(input_base(id));
    } else {
      MIXFLOW_CHECK(space_.instr(id).op == TileOp::iota, "fused value is used before it is known");
      const bool once = program_.chunk >= space_.cols;
      place = slots_.add(tile(), once);
      auto& steps = once ? program_.prologue : phase_->chunk_steps;
      steps.push_back({.kind = Kind::iota_cols,
                       .dst = place,
                       .a = {kUnused, 0},
                       .b = {kUnused, 0},
                       .c = {kUnused, 0}});
    }
    return {place, false};
  }

  // The elements of an input: in place where they lie as in the tile, else copied; once if they are
  // the same for all rows.
  TileRef load(std::int32_t from) {
    const TileBase& source = base(from);
    const bool dense = source.outer.empty() && source.row_stride == space_.cols;
    if (program_.tile_rows == 1 || dense) return {from, 0};
    const bool once = source.outer.empty();
    const TileRef place = slots_.add(tile(), once);
    if (once) {
      add_row_op(program_.prologue, row_fns().repeat, place, {from, 0});
    } else {
      phase_->chunk_steps.push_back({.kind = Kind::load_rows,
                                     .dst = place,
                                     .a = {kUnused, 0},
                                     .b = {kUnused, 0},
                                     .c = {kUnused, 0},
                                     .index = from});
    }
    return place;
  }

  // All elements of a value, none splatted.
  TileRef whole(Id id) {
    const Access from = by_element(id);
    return from.splat ? filled(phase_->chunk_steps, Kind::elements, from.ref) : from.ref;
  }

  // --- outputs

  // Everything of a tile is computed before anything is stored, for outputs may lie over inputs.
  void add_stores() {
    const int last = last_sweep();
    phase_ = &program_.phases[index(std::max(0, last))];
    std::vector<TileStep> stores;
    for (std::size_t s = 0; s < program_.sums.size(); ++s) {
      const TileSum& sum = program_.sums[s];
      const TileRef from = whole(space_.outputs[index(sum.output)].value);
      phase_->chunk_steps.push_back({.kind = sum.inner_kept ? Kind::sum_columns : Kind::sum_all,
                                     .dst = {kUnused, 0},
                                     .a = from,
                                     .b = {kUnused, 0},
                                     .c = {kUnused, 0},
                                     .index = static_cast<std::int32_t>(s)});
    }
    for (std::size_t j = 0; j < space_.outputs.size(); ++j) {
      const auto& output = space_.outputs[j];
      if (output.sum) continue;
      const TileRef to{output_base(j), 0};
      const TileLevel level = space_.value(output.value).level;
      if (output.axes == space_.all()) {
        stores.push_back(copy_step(Kind::elements, to, by_element(output.value)));
      } else if (output.axes == space_.outer()) {
        MIXFLOW_CHECK(level != TileLevel::element, "fused output misses the last axis");
        program_.tile_end.push_back(
            copy_step(Kind::rows, to, access(output.value, TileLevel::row)));
      } else {
        MIXFLOW_CHECK(output.axes == 0 && level == TileLevel::uniform,
                      "fused output over some of its axes");
        program_.run_end.push_back(copy_step(Kind::once, to, {by_row(output.value), false}));
      }
    }
    phase_->chunk_steps.insert(phase_->chunk_steps.end(), stores.begin(), stores.end());
  }

  // A value that is stored is computed in its output's buffer, if no input that this buffer may be
  // is read after.
  void write_outputs_directly() {
    const std::vector<std::uint32_t> in_place = fused_in_place(spec_);
    for (std::size_t j = 0; j < space_.outputs.size(); ++j) {
      if (space_.outputs[j].sum || space_.outputs[j].axes != space_.all()) continue;
      auto& steps = phase_->chunk_steps;
      const auto store = std::ranges::find_if(
          steps, [&](const TileStep& s) { return s.dst.base == output_base(j); });
      const TileRef slot = store->a;
      if (!TileSlots::is_slot(slot) || slots_.is_kept(slot)) continue;
      const auto is_slot_ref = [&](const TileRef& ref) {
        return TileSlots::is_slot(ref) && ref.offset == slot.offset;
      };
      bool defined = false, safe = true;
      program_.for_each_step([&](const TileStep& step) {
        for (const TileRef& ref : {step.a, step.b, step.c})
          safe &= !defined || !may_be(ref.base, in_place[j]);
        if (step.kind == Kind::load_rows) safe &= !defined || !may_be(step.index, in_place[j]);
        defined |= is_slot_ref(step.dst);
        safe &= step.kind != Kind::reverse || !is_slot_ref(step.dst);  // it reads behind itself
      });
      if (!safe) continue;
      steps.erase(store);
      program_.for_each_step([&](TileStep& step) {
        for (TileRef* ref : {&step.dst, &step.a, &step.b, &step.c}) {
          if (is_slot_ref(*ref)) *ref = {output_base(j), 0};
        }
      });
      slots_.set_fallback(output_base(j), slots_.add(tile(), true));
    }
  }

  bool may_be(std::int32_t base_index, std::uint32_t inputs) const {
    if (base_index < 2 || base(base_index).kind != TileBase::Kind::input) return false;
    return ((inputs >> base(base_index).index) & 1u) != 0;
  }

  const FusedSpec& spec_;
  const TileSpace& space_;
  const bool resident_;
  TileProgram program_;
  TileProgram::Phase* phase_ = nullptr;
  TileSlots slots_;
  std::vector<Place> place_;
  std::int64_t tile_floats_ = 0;
};

}  // namespace

std::vector<std::uint32_t> fused_in_place(const FusedSpec& spec) {
  const std::size_t rank = spec.space.size();
  const AxisMask all = (AxisMask{1} << rank) - 1;
  const AxisMask all_rows = rank > 0 ? all >> 1 : 0;
  std::int64_t rows = 1;
  for (std::size_t k = 0; k + 1 < rank; ++k) rows *= spec.space[k];
  std::uint32_t used = 0, copied = 0;
  for (const auto& operand : spec.operands) {
    if (operand.input < 32) used |= 1u << operand.input;
  }
  for (const auto& output : spec.outputs) {
    const auto value = index(output.value);
    if (value < spec.operands.size()) copied |= 1u << spec.operands[value].input;
  }
  std::vector<std::uint32_t> result;
  for (const auto& output : spec.outputs) {
    std::uint32_t inputs = 0;
    const bool by_row = rows > 1 && output.axes == all_rows;
    if (!output.sum && (output.axes == all || by_row)) inputs = used & ~copied;
    for (const auto& operand : spec.operands) {
      if (operand.input < 32 && operand.axes != output.axes) inputs &= ~(1u << operand.input);
    }
    result.push_back(inputs);
  }
  return result;
}

TileProgram fused_program(const FusedSpec& spec) {
  const TileSpace space = make_tile_space(spec);
  Compiler resident(spec, space, true);
  TileProgram program = resident.compile();
  const bool small = program.chunk <= kTileElements || resident.tile_floats() <= kResidentFloats;
  return small ? std::move(program) : Compiler(spec, space, false).compile();
}

std::unique_ptr<Kernel> make_fused(const FusedSpec& spec) {
  TileProgram program = fused_program(spec);
  compile_runs(program);
  return make_tile_kernel(std::move(program));
}

}  // namespace mixflow
