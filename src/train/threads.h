// The threads of this process: how many, bound to cores, with denormals flushed.
#pragma once

namespace mixflow {

// Call before anything computes. `requested` 0: all usable cores. Returns the number of threads.
int start_threads(int requested);

}  // namespace mixflow
