// What an op is. Each op is one `const OpDef` in its family's file in ops/; there is no op enum and
// no switch over ops. Adding an op is one block in its family's file and one word in ops/op_list.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "graph/graph.h"
#include "kernels/kernel.h"

namespace mixflow {

class Builder;

// A node as the derivative and batching rules see it: inside a builder, with its output.
struct Call {
  const OpDef& op;
  std::span<const Id> in;
  Id out;
  const Attrs& attrs;
};

// How an op is differentiated. Take the first that fits; both modes follow from it. Explicit is the
// last resort. Rules append to the builder and may use the output `call.out`. Only the partials and
// transposes that are needed are asked for.
struct NonDiff {};  // derivative zero, or not a float
struct Elementwise {
  Id (*partial)(Builder&, const Call&, int i);  // d out / d in[i], same shape as out
};
// In each float input on its own and in all together; jvp: the op itself on the tangents, with i32
// inputs as they are.
struct Linear {
  Id (*transpose)(Builder&, const Call&, int i, Id y_bar);
};
struct Bilinear {  // two inputs; jvp: the product rule
  Id (*transpose)(Builder&, const Call&, int i, Id y_bar);
};
struct Explicit {
  // kNone: a tangent of zero; at least one is none such.
  Id (*jvp)(Builder&, const Call&, std::span<const Id> tangents);
  Id (*vjp)(Builder&, const Call&, int i, Id y_bar);
};
struct Structural {};  // scan, map, grad, fused: transforms know them by name
using Deriv = std::variant<NonDiff, Elementwise, Linear, Bilinear, Explicit, Structural>;

// One evaluation in float64, row-major and dense; i32 values are held as doubles too.
struct RefCall {
  std::span<const Type> in_types;
  std::span<const double* const> in;
  const Type& out_type;
  double* out;
  const Attrs& attrs;
  int threads = 1;  // how many the op may use; 1 inside a parallel region
};

// Exact work of one execution.
struct Cost {
  std::int64_t flop = 0;
  std::int64_t bytes_read = 0;
  std::int64_t bytes_written = 0;
};

// What a lowering is asked for.
struct LowerCall {
  std::span<const Type> in;
  std::span<const Type> out;
  const Attrs& attrs;
  int threads;  // how many threads the kernel may use itself; 1 inside a parallel map
  bool bf16;    // operands of products may be rounded to bf16
};

// Inputs for the generic op test.
struct Sample {
  std::vector<Type> in;
  Attrs attrs;
  // The range that float inputs are drawn from; i32 inputs: [0, index_limit).
  double low = -2, high = 2;
  std::int64_t index_limit = 1;
  bool whole = false;  // floats are drawn as whole numbers, so that zeros and ties occur
};

// In may_overwrite: the last input, where the number of inputs is odd (the z of dot_sum).
inline constexpr std::uint32_t kOverwriteOddLast = 1u << 31;

struct OpDef {
  std::string_view name;  // the same word in dumps, logs, errors and test names
  int arity = 1;          // -1: any
  // Input types and attributes to the output's type: the only shape rule. Throws InternalError on a
  // mismatch.
  Type (*infer)(std::span<const Type> in, const Attrs& attrs) = nullptr;
  Deriv deriv = NonDiff{};
  // Batching rule of vmap: inputs i with batched[i] have a new leading axis of size n. Returns the
  // result with that leading axis. Called only if at least one input is batched.
  Id (*batch)(Builder&, const Call&, std::span<const Id> in, const std::vector<bool>& batched,
              std::int64_t n) = nullptr;
  void (*ref)(const RefCall&) = nullptr;  // plain float64 loops: the oracle for every kernel
  // f32; called once, before anything is timed.
  std::unique_ptr<Kernel> (*lower)(const LowerCall&) = nullptr;
  Cost (*cost)(std::span<const Type> in, const Type& out, const Attrs&) = nullptr;
  std::uint32_t may_overwrite = 0;  // bit i: the output may take input i's buffer
  bool view = false;  // the output is input 0's bytes under another type: never computed
  bool free = false;  // no input worth keeping: partition recomputes it instead of storing it
  TileOp tile = TileOp::none;  // the op inside a fused kernel; none: it cannot be fused
  std::vector<Sample> (*samples)() = nullptr;
};

// Whether a node of `op` with `inputs` inputs may write its output over input i.
inline bool may_overwrite(const OpDef& op, std::size_t inputs, std::size_t i) {
  if (i < 31 && (op.may_overwrite >> i & 1u) != 0) return true;
  return (op.may_overwrite & kOverwriteOddLast) != 0 && inputs % 2 == 1 && i + 1 == inputs;
}

template <class D>
bool has_deriv(const OpDef& op) {
  return std::holds_alternative<D>(op.deriv);
}

}  // namespace mixflow
