// The threads of this process: how many, and that they flush denormals.
#pragma once

namespace mixflow {

// Call before anything computes, on the thread that will. `requested` 0: all usable cores. Returns
// the number of threads that work is divided for; no more are started than can run at a time.
int start_threads(int requested);

}  // namespace mixflow
