// A kernel over a batch, made of a kernel for one instance.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "kernels/kernel.h"

namespace mixflow {

// Runs `one`, a kernel of two inputs and one output, for n instances in turn; an instance's buffers
// begin in_bytes[i] and out_bytes after those of the one before. Naive reference: the loop itself.
std::unique_ptr<Kernel> make_repeat(std::unique_ptr<Kernel> one, std::int64_t n,
                                    std::array<std::int64_t, 2> in_bytes, std::int64_t out_bytes);

}  // namespace mixflow
