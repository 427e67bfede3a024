// The input file of `mixflow grad` for a classification: what is taken is finite and in range.
#include "fuzz.h"
#include "small_run.h"
#include "train/take_inputs.h"

MIXFLOW_FUZZ_TARGET(data, size) {
  static mixflow::SmallRun small;
  const std::string path = mixflow::scratch_file("a.safetensors", data, size);
  mixflow::takes([&] { mixflow::take_inputs(path, small.config, *small.source, small.grad); });
  return 0;
}
