#include "train/threads.h"

#include "kernels/cpu.h"
#include "kernels/float_mode.h"
#include "kernels/team.h"

namespace mixflow {

int start_threads(int requested) {
  const int threads = requested > 0 ? requested : usable_cores();
  flush_denormals();
  if (threads >= usable_cores()) stay_on_node_of(usable_cpus()[0]);
  start_helpers(threads);
  return threads;
}

}  // namespace mixflow
