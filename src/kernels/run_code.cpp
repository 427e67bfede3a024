#include "kernels/run_code.h"

#ifdef MIXFLOW_HAS_ASMJIT

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/vector_ops.h"
#include "util/error.h"

namespace mixflow {
namespace {

using Kind = TileStep::Kind;

constexpr int kLanes = 16;

// Code outlives no kernel that runs it, but kernels may outlive main's end.
asmjit::JitRuntime& runtime() {
  static auto* const runtime = new asmjit::JitRuntime;
  return *runtime;
}

// What an instruction that cannot be is answered with.
class Refuse final : public asmjit::ErrorHandler {
  void handleError(asmjit::Error, const char* message, asmjit::BaseEmitter*) override {
    MIXFLOW_CHECK(false, std::string("machine code: ") + message);
  }
};

bool is_row_op(const TileStep& step, RowFn fn) {
  return step.kind == Kind::row_op && step.row_fn == fn;
}

std::array<const TileRef*, 3> operands(const TileStep& step) { return {&step.a, &step.b, &step.c}; }

// A run of steps as code.
class RunCompiler {
 public:
  RunCompiler(std::span<const TileStep> run, const RunSetting& setting)
      : run_(run), setting_(setting) {
    for (const TileStep& step : run_)
      by_rows_ |= step.kind == Kind::row_op || step.kind == Kind::sum_columns;
    for_each_operand([&](const TileStep&, int, const TileRef& ref) {
      by_rows_ |= setting_.rows_for_all.contains(place_of(ref));
    });
  }

  TileCode compile() {
    asmjit::CodeHolder code;
    Refuse refuse;
    code.init(runtime().environment());
    code.setErrorHandler(&refuse);
    x86::Compiler cc(&code);
    cc_ = &cc;
    VectorOps ops(cc);
    ops_ = &ops;
    auto* function =
        cc.addFunc(asmjit::FuncSignatureT<void, float* const*, std::size_t, std::size_t>());
    function->frame().setAvxEnabled();
    function->frame().setAvx512Enabled();
    function->frame().setAvxCleanup();
    bases_ = cc.newIntPtr();
    rows_ = cc.newIntPtr();
    cols_ = cc.newIntPtr();
    function->setArg(0, bases_);
    function->setArg(1, rows_);
    function->setArg(2, cols_);
    emit_loops();
    cc.endFunc();
    cc.finalize();
    TileCode entry = nullptr;
    if (const asmjit::Error error = runtime().add(&entry, &code); error != asmjit::kErrorOk) {
      throw RunError(
          std::string("the system gives no memory for machine code, which kernels and oneDNN need "
                      "on this CPU (") +
          asmjit::DebugUtils::errorAsString(error) +
          "): let the process map memory that it may execute");
    }
    return entry;
  }

 private:
  using Vectors = std::map<Place, x86::Zmm>;

  // Where in a row a vector of elements lies.
  struct Spot {
    bool masked = false;  // the rest of a row
    int vector = 0;       // of a row whose vectors are spelled out one by one
  };

  template <class Visit>
  void for_each_operand(Visit visit) const {
    for (const TileStep& step : run_) {
      const int n = is_arithmetic(step) ? operand_count(step.op) : 1;
      for (int k = 0; k < n; ++k) visit(step, k, *operands(step)[static_cast<std::size_t>(k)]);
    }
  }

  static bool is_splat(const TileStep& step, int k) {
    return is_arithmetic(step) && ((step.splats >> k) & 1u) != 0;
  }

  static std::int32_t bytes(std::int64_t floats) {
    MIXFLOW_CHECK(std::abs(floats) < std::int64_t{1} << 28, "a tile too large for machine code");
    return static_cast<std::int32_t>(floats * std::int64_t{sizeof(float)});
  }

  // The address of a place, `index` elements and some vectors on.
  x86::Mem at(const TileRef& ref, const x86::Gp& index, int vector = 0) {
    return x86::ptr(pointers_.at(ref.base), index, 2, bytes(ref.offset + vector * kLanes));
  }

  void load_pointer(std::int32_t base) {
    if (pointers_.contains(base)) return;
    const x86::Gp pointer = cc_->newIntPtr();
    cc_->mov(pointer, x86::ptr(bases_, base * static_cast<std::int32_t>(sizeof(float*))));
    pointers_.emplace(base, pointer);
  }

  // What is the same for the whole tile.
  void hoist() {
    for_each_operand([&](const TileStep& step, int k, const TileRef& ref) {
      const Place place = place_of(ref);
      if (const auto row = setting_.rows_for_all.find(place); row != setting_.rows_for_all.end()) {
        load_pointer(row->second.base);
        for (int v = 0; v < vectors(); ++v) {
          if (rows_known_.contains({place, v})) continue;
          const x86::Zmm vector = cc_->newZmmPs();
          if (is_rest(v)) cc_->k(mask_).z();
          cc_->vmovups(vector, x86::ptr(pointers_.at(row->second.base),
                                        bytes(row->second.offset + v * kLanes)));
          rows_known_.emplace(std::pair(place, v), vector);
        }
        return;
      }
      load_pointer(ref.base);
      if (!is_splat(step, k) || splats_.contains(place)) return;
      const x86::Zmm vector = cc_->newZmmPs();
      cc_->vbroadcastss(vector, x86::ptr(pointers_.at(ref.base), bytes(ref.offset)));
      splats_.emplace(place, vector);
    });
    for (const TileStep& step : run_) {
      if (step.kind == Kind::sum_columns) {
        for (int v = 0; v < vectors(); ++v)
          column_sums_.emplace(std::pair(step.index, v), cleared());
        continue;
      }
      load_pointer(step.dst.base);
      ops_->make_constants(step.op);
    }
  }

  x86::Zmm cleared() {
    const x86::Zmm vector = cc_->newZmmPs();
    clear(vector);
    return vector;
  }
  void clear(const x86::Zmm& vector) { cc_->vpxord(vector, vector, vector); }

  // Of a row, where they are spelled out.
  int vectors() const { return static_cast<int>((setting_.cols + kLanes - 1) / kLanes); }
  bool is_rest(int vector) const { return (vector + 1) * kLanes > setting_.cols; }

  // for r < rows: for c < cols, kLanes at a time. A run that looks at no row or column takes the
  // tile for one row.
  void emit_loops() {
    x86::Compiler& cc = *cc_;
    if (!by_rows_) {
      cc.imul(cols_, rows_);
      cc.mov(rows_, 1);
    }
    element_ = cc.newIntPtr();
    row_ = cc.newIntPtr();
    rest_ = cc.newIntPtr();
    cc.xor_(element_, element_);
    cc.xor_(row_, row_);
    cc.mov(rest_, cols_);
    cc.and_(rest_, kLanes - 1);
    mask_ = cc.newKw();
    const x86::Gp lanes = cc.newUInt32();
    cc.mov(lanes, 0xffffffffu);
    cc.bzhi(lanes, lanes, rest_.r32());
    cc.kmovw(mask_, lanes);
    hoist();
    ops_->end_constants();
    const asmjit::Label next = cc.newLabel(), end = cc.newLabel();
    cc.test(rows_, rows_);
    cc.jz(end);
    cc.bind(next);
    begin_row();
    if (by_rows_ && setting_.cols > 0) {
      for (int v = 0; v < vectors(); ++v) emit_body({.masked = is_rest(v), .vector = v});
      cc.add(element_, static_cast<std::int32_t>(setting_.cols));
    } else {
      emit_columns();
    }
    end_row();
    cc.inc(row_);
    cc.cmp(row_, rows_);
    cc.jb(next);
    cc.bind(end);
    add_column_sums();
  }

  void emit_columns() {
    x86::Compiler& cc = *cc_;
    column_ = cc.newIntPtr();
    const x86::Gp whole = cc.newIntPtr();
    cc.mov(whole, cols_);
    cc.sub(whole, rest_);
    const asmjit::Label next = cc.newLabel(), tail = cc.newLabel(), end = cc.newLabel();
    cc.xor_(column_, column_);
    cc.test(whole, whole);
    cc.jz(tail);
    cc.bind(next);
    emit_body({});
    cc.add(element_, kLanes);
    cc.add(column_, kLanes);
    cc.cmp(column_, whole);
    cc.jb(next);
    cc.bind(tail);
    cc.test(rest_, rest_);
    cc.jz(end);
    emit_body({.masked = true});
    cc.add(element_, rest_);
    cc.bind(end);
  }

  void begin_row() {
    for (const TileStep& step : run_) {
      if (is_expand(step)) {
        const x86::Zmm vector = cc_->newZmmPs();
        cc_->vbroadcastss(vector, at(step.a, row_));
        of_row_.insert_or_assign(&step, vector);
      } else if (is_row_sum(step)) {
        of_row_.insert_or_assign(&step, cleared());
      }
    }
  }

  void end_row() {
    x86::Compiler& cc = *cc_;
    for (const TileStep& step : run_) {
      if (!is_row_sum(step)) continue;
      const x86::Zmm sum = of_row_.at(&step), other = cc.newZmmPs();
      cc.vshuff32x4(other, sum, sum, 0x4e);  // halves, quarters, pairs, floats change places
      cc.vaddps(sum, sum, other);
      cc.vshuff32x4(other, sum, sum, 0xb1);
      cc.vaddps(sum, sum, other);
      cc.vshufps(other, sum, sum, 0x4e);
      cc.vaddps(sum, sum, other);
      cc.vshufps(other, sum, sum, 0xb1);
      cc.vaddps(sum, sum, other);
      cc.vmovss(at(step.dst, row_), sum.xmm());
    }
  }

  // Onto the sums so far, which have no place where nobody takes them.
  void add_column_sums() {
    x86::Compiler& cc = *cc_;
    for (const TileStep& step : run_) {
      if (step.kind != Kind::sum_columns) continue;
      const x86::Gp to = cc.newIntPtr();
      const asmjit::Label none = cc.newLabel();
      const std::int32_t base = setting_.sums.at(step.index);
      cc.mov(to, x86::ptr(bases_, base * static_cast<std::int32_t>(sizeof(float*))));
      cc.test(to, to);
      cc.jz(none);
      for (int v = 0; v < vectors(); ++v) {
        const x86::Zmm sum = column_sums_.at({step.index, v}), before = cc.newZmmPs();
        if (is_rest(v)) cc.k(mask_).z();
        cc.vmovups(before, x86::ptr(to, bytes(v * kLanes)));
        cc.vaddps(before, before, sum);
        if (is_rest(v)) cc.k(mask_);
        cc.vmovups(x86::ptr(to, bytes(v * kLanes)), before);
      }
      cc.bind(none);
    }
  }

  // All steps for one vector of elements.
  void emit_body(const Spot& spot) {
    Vectors known;
    std::vector<const TileStep*> stores;  // the last step that writes to each place, in order
    for (const TileStep& step : run_) {
      const Place to = place_of(step.dst);
      if (is_expand(step)) {
        known.insert_or_assign(to, of_row_.at(&step));
      } else if (is_row_sum(step)) {
        const x86::Zmm sum = of_row_.at(&step), x = operand(step, 0, known, spot);
        if (spot.masked) cc_->k(mask_);
        cc_->vaddps(sum, sum, x);
        continue;
      } else if (step.kind == Kind::sum_columns) {
        const x86::Zmm sum = column_sums_.at({step.index, spot.vector});
        cc_->vaddps(sum, sum, operand(step, 0, known, spot));
        continue;
      } else {
        std::array<x86::Zmm, 3> in;
        for (int k = 0; k < operand_count(step.op); ++k)
          in[static_cast<std::size_t>(k)] = operand(step, k, known, spot);
        known.insert_or_assign(to, ops_->emit(step.op, in));
      }
      if (!setting_.stored.contains(to)) continue;
      std::erase_if(stores, [&](const TileStep* s) { return place_of(s->dst) == to; });
      stores.push_back(&step);
    }
    for (const TileStep* step : stores) {
      if (spot.masked) cc_->k(mask_);
      cc_->vmovups(at(step->dst, element_, spot.vector), known.at(place_of(step->dst)));
    }
  }

  x86::Zmm operand(const TileStep& step, int k, Vectors& known, const Spot& spot) {
    const TileRef& ref = *operands(step)[static_cast<std::size_t>(k)];
    const Place place = place_of(ref);
    if (is_splat(step, k)) return splats_.at(place);
    if (const auto found = known.find(place); found != known.end()) return found->second;
    const auto row = setting_.rows_for_all.find(place);
    const bool for_all = row != setting_.rows_for_all.end();
    if (for_all && setting_.cols > 0) return rows_known_.at({place, spot.vector});
    const x86::Zmm vector = cc_->newZmmPs();
    if (spot.masked) cc_->k(mask_).z();
    cc_->vmovups(vector, for_all ? at(row->second, column_) : at(ref, element_, spot.vector));
    known.emplace(place, vector);
    return vector;
  }

  const std::span<const TileStep> run_;
  const RunSetting& setting_;
  bool by_rows_ = false;
  x86::Compiler* cc_ = nullptr;
  VectorOps* ops_ = nullptr;
  x86::Gp bases_, rows_, cols_, rest_;  // rest_: columns behind the last whole vector
  x86::Gp element_, row_, column_;
  x86::KReg mask_;  // of the rest
  std::map<std::int32_t, x86::Gp> pointers_;
  Vectors splats_;
  std::map<const TileStep*, x86::Zmm> of_row_;  // what is spread over the row; sums so far
  std::map<std::pair<Place, int>, x86::Zmm> rows_known_;          // by vector of the row
  std::map<std::pair<std::int32_t, int>, x86::Zmm> column_sums_;  // by sum and vector
};

}  // namespace

int operand_count(TileOp op) {
  if (op <= TileOp::step) return 1;
  return op < TileOp::select ? 2 : 3;
}

bool is_expand(const TileStep& step) { return is_row_op(step, row_fns().expand); }
bool is_repeat(const TileStep& step) { return is_row_op(step, row_fns().repeat); }
bool is_row_sum(const TileStep& step) { return is_row_op(step, row_fns().sum); }
bool is_arithmetic(const TileStep& step) {
  return (step.kind == Kind::elements || step.kind == Kind::rows) && has_machine_code(step.op);
}

RunCode compile_run(std::span<const TileStep> run, const RunSetting& setting) {
  const TileCode entry = RunCompiler(run, setting).compile();
  return {entry, {reinterpret_cast<const void*>(entry), [](const void* code) {
                    runtime().release(const_cast<void*>(code));
                  }}};
}

}  // namespace mixflow

#endif
