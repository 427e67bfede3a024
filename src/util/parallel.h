// Independent work on several threads, for what is not computed by kernels.
#pragma once

#include <cstddef>
#include <functional>

namespace mixflow {

// Calls work(0) .. work(count - 1), each once, on up to `threads` threads of its own, in any order.
// Where calls throw, the rest may not be called, and the exception of the lowest index that threw
// is rethrown.
void parallel_for(std::size_t count, int threads, const std::function<void(std::size_t)>& work);

}  // namespace mixflow
