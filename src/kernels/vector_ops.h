// What each op of machine code is in instructions, on vectors of 16 floats (AVX-512). Internal to
// run_code.cpp.
#pragma once

#ifdef MIXFLOW_HAS_ASMJIT

#include <asmjit/x86.h>

#include <array>
#include <cstdint>
#include <map>

#include "kernels/kernel.h"

namespace mixflow {

namespace x86 = asmjit::x86;

// Whether the op has machine code here.
bool has_machine_code(TileOp op);

class VectorOps {
 public:
  explicit VectorOps(x86::Compiler& cc) : cc_(cc) {}

  // The constants that ops need are made before the loops, all of them before this end.
  void make_constants(TileOp op);
  void end_constants() { ended_ = true; }

  // The op's result; operands that it does not have are not read.
  x86::Zmm emit(TileOp op, const std::array<x86::Zmm, 3>& in);

 private:
  x86::Zmm constant(std::uint32_t bits);
  x86::Zmm zero() { return constant(0); }
  x86::Zmm one() { return constant(0x3f800000); }
  x86::Zmm sign_bit() { return constant(0x80000000); }
  x86::Zmm other_bits() { return constant(0x7fffffff); }
  x86::Zmm compared(const x86::Zmm& x, const x86::Zmm& y, x86::VCmpImm how);
  void emit_arithmetic(TileOp op, const std::array<x86::Zmm, 3>& in, const x86::Zmm& result);

  x86::Compiler& cc_;
  bool ended_ = false;
  std::map<std::uint32_t, x86::Zmm> constants_;
};

}  // namespace mixflow

#endif
