// How the primitives that are not elementwise become kernels (f32). Elementwise ops are not here:
// the fuse pass always wraps them in `fused`, even one alone.
//
// Each function is called once per node, before anything is timed; the kernel it returns serves
// exactly the types of its LowerCall and declares its scratch. Shapes have passed the op's `infer`;
// attributes mean what the op's definition says.
#pragma once

#include <memory>

#include "graph/op.h"
#include "kernels/kernel.h"

namespace mixflow {

// dot.cpp
std::unique_ptr<Kernel> lower_dot(const LowerCall& call);
std::unique_ptr<Kernel> lower_dot_sum(
    const LowerCall& call);  // may run with its output over the last input, z

// pack.cpp
std::unique_ptr<Kernel> lower_pack_bf16(const LowerCall& call);

// reduce.cpp
std::unique_ptr<Kernel> lower_sum(const LowerCall& call);
std::unique_ptr<Kernel> lower_max_reduce(const LowerCall& call);
std::unique_ptr<Kernel> lower_logsumexp(const LowerCall& call);

// shape.cpp and slice.cpp
std::unique_ptr<Kernel> lower_full(const LowerCall& call);
std::unique_ptr<Kernel> lower_iota(const LowerCall& call);
std::unique_ptr<Kernel> lower_transpose(const LowerCall& call);
std::unique_ptr<Kernel> lower_broadcast(const LowerCall& call);
std::unique_ptr<Kernel> lower_slice(const LowerCall& call);
std::unique_ptr<Kernel> lower_pad(const LowerCall& call);
std::unique_ptr<Kernel> lower_concat(const LowerCall& call);
std::unique_ptr<Kernel> lower_reverse(const LowerCall& call);

// gather.cpp; an index is in range, except that of one_hot, where any other gives a row of zeros
std::unique_ptr<Kernel> lower_one_hot(const LowerCall& call);
std::unique_ptr<Kernel> lower_gather(const LowerCall& call);
std::unique_ptr<Kernel> lower_scatter_add(const LowerCall& call);

// elementwise.cpp: between f32 and i32
std::unique_ptr<Kernel> lower_convert(const LowerCall& call);

}  // namespace mixflow
