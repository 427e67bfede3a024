#include "kernels/vector_ops.h"

#ifdef MIXFLOW_HAS_ASMJIT

#include <algorithm>
#include <iterator>

#include "util/error.h"

namespace mixflow {
namespace {

// result = first(x, y), then with z; a fused multiplication starts from z.
struct Arithmetic {
  TileOp op;
  std::uint32_t first, then = x86::Inst::kIdNone;
  bool onto_z = false;
};
constexpr Arithmetic kArithmetic[] = {
    {TileOp::add, x86::Inst::kIdVaddps},
    {TileOp::sub, x86::Inst::kIdVsubps},
    {TileOp::mul, x86::Inst::kIdVmulps},
    {TileOp::div, x86::Inst::kIdVdivps},
    {TileOp::mul_add, x86::Inst::kIdVfmadd231ps, x86::Inst::kIdNone, true},
    {TileOp::mul_sub, x86::Inst::kIdVfmsub231ps, x86::Inst::kIdNone, true},
    {TileOp::sub_mul, x86::Inst::kIdVfnmadd231ps, x86::Inst::kIdNone, true},
    {TileOp::mul_mul, x86::Inst::kIdVmulps, x86::Inst::kIdVmulps},
    {TileOp::sum_mul, x86::Inst::kIdVaddps, x86::Inst::kIdVmulps},
    {TileOp::diff_mul, x86::Inst::kIdVsubps, x86::Inst::kIdVmulps},
    {TileOp::add_add, x86::Inst::kIdVaddps, x86::Inst::kIdVaddps},
    {TileOp::diff_add, x86::Inst::kIdVsubps, x86::Inst::kIdVaddps},
};

}  // namespace

// Functions that are more than an instruction or two stay calls.
bool has_machine_code(TileOp op) {
  switch (op) {
    case TileOp::copy:
    case TileOp::neg:
    case TileOp::sqrt:
    case TileOp::rsqrt:
    case TileOp::reciprocal:
    case TileOp::square:
    case TileOp::abs:
    case TileOp::sign:
    case TileOp::relu:
    case TileOp::step:
    case TileOp::max:
    case TileOp::min:
    case TileOp::less:
    case TileOp::equal:
    case TileOp::select:
      return true;
    default:
      return std::ranges::find(kArithmetic, op, &Arithmetic::op) != std::end(kArithmetic);
  }
}

x86::Zmm VectorOps::constant(std::uint32_t bits) {
  if (const auto known = constants_.find(bits); known != constants_.end()) return known->second;
  MIXFLOW_CHECK(!ended_, "a constant of machine code is made inside its loops");
  const x86::Zmm vector = cc_.newZmmPs();
  const x86::Gp word = cc_.newUInt32();
  cc_.mov(word, bits);
  cc_.vpbroadcastd(vector, word);
  constants_.emplace(bits, vector);
  return vector;
}

void VectorOps::make_constants(TileOp op) {
  switch (op) {
    case TileOp::neg:
      sign_bit();
      break;
    case TileOp::abs:
      other_bits();
      break;
    case TileOp::relu:
    case TileOp::select:
      zero();
      break;
    case TileOp::rsqrt:
    case TileOp::reciprocal:
    case TileOp::less:
    case TileOp::equal:
      one();
      break;
    case TileOp::sign:
    case TileOp::step:
      zero();
      one();
      break;
    default:
      break;
  }
}

// 1 where the comparison holds, else 0.
x86::Zmm VectorOps::compared(const x86::Zmm& x, const x86::Zmm& y, x86::VCmpImm how) {
  const x86::KReg holds = cc_.newKw();
  const x86::Zmm result = cc_.newZmmPs();
  cc_.vcmpps(holds, x, y, static_cast<std::uint32_t>(how));
  cc_.k(holds).z().vmovaps(result, one());
  return result;
}

// tile_ops.cpp has each op's meaning; NaNs and zeros of either sign come out as there.
x86::Zmm VectorOps::emit(TileOp op, const std::array<x86::Zmm, 3>& in) {
  x86::Compiler& cc = cc_;
  const auto& [x, y, z] = in;
  if (op == TileOp::copy) return x;
  if (op == TileOp::step) return compared(x, zero(), x86::VCmpImm::kGT_OQ);
  if (op == TileOp::less) return compared(x, y, x86::VCmpImm::kLT_OQ);
  if (op == TileOp::equal) return compared(x, y, x86::VCmpImm::kEQ_OQ);
  const x86::Zmm result = cc.newZmmPs();
  switch (op) {
    case TileOp::neg:
      cc.vpxord(result, x, sign_bit());
      break;
    case TileOp::abs:
      cc.vpandd(result, x, other_bits());
      break;
    case TileOp::sqrt:
      cc.vsqrtps(result, x);
      break;
    case TileOp::rsqrt:
      cc.vsqrtps(result, x);
      cc.vdivps(result, one(), result);
      break;
    case TileOp::reciprocal:
      cc.vdivps(result, one(), x);
      break;
    case TileOp::square:
      cc.vmulps(result, x, x);
      break;
    case TileOp::sign:
      cc.vsubps(result, compared(x, zero(), x86::VCmpImm::kGT_OQ),
                compared(x, zero(), x86::VCmpImm::kLT_OQ));
      break;
    case TileOp::relu:
      cc.vmaxps(result, zero(), x);  // the second operand unless the first is larger
      break;
    case TileOp::max:
      cc.vmaxps(result, y, x);
      break;
    case TileOp::min:
      cc.vminps(result, y, x);
      break;
    case TileOp::select: {
      const x86::KReg is_zero = cc.newKw();
      cc.vcmpps(is_zero, x, zero(), static_cast<std::uint32_t>(x86::VCmpImm::kEQ_OQ));
      cc.k(is_zero).vblendmps(result, y, z);
      break;
    }
    default:
      emit_arithmetic(op, in, result);
  }
  return result;
}

void VectorOps::emit_arithmetic(TileOp op, const std::array<x86::Zmm, 3>& in,
                                const x86::Zmm& result) {
  const auto& [x, y, z] = in;
  const auto found = std::ranges::find(kArithmetic, op, &Arithmetic::op);
  MIXFLOW_CHECK(found != std::end(kArithmetic), "an op without machine code in a run");
  if (found->onto_z) cc_.emit(x86::Inst::kIdVmovaps, result, z);
  cc_.emit(found->first, result, x, y);
  if (found->then != x86::Inst::kIdNone) cc_.emit(found->then, result, result, z);
}

}  // namespace mixflow

#endif
