// The newest checkpoint of a run.
#include "train/checkpoint.h"

#include "fuzz.h"
#include "small_run.h"

MIXFLOW_FUZZ_TARGET(data, size) {
  static mixflow::SmallRun small;
  mixflow::scratch_file("step-0000000001.safetensors", data, size);
  mixflow::takes([&] { mixflow::load_checkpoint(mixflow::scratch(), small.train); });
  return 0;
}
