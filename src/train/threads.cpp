#include "train/threads.h"

#include <omp.h>

#include "kernels/cpu.h"

namespace mixflow {

int start_threads(int requested) {
  const int threads = requested > 0 ? requested : usable_cores();
  omp_set_dynamic(0);
  omp_set_num_threads(threads);
  bind_threads(threads);
  set_flush_denormals(threads);
  return threads;
}

}  // namespace mixflow
