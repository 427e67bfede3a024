// A zip archive of arrays, of which the member x is read.
#include "data/array.h"
#include "fuzz.h"

MIXFLOW_FUZZ_TARGET(data, size) {
  const std::string path = mixflow::scratch_file("a.npz", data, size) + ":x";
  mixflow::takes([&] { mixflow::check_finite(mixflow::read_array(path)); });
  return 0;
}
