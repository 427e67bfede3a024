// A NumPy array.
#include "data/array.h"
#include "fuzz.h"

MIXFLOW_FUZZ_TARGET(data, size) {
  const std::string path = mixflow::scratch_file("a.npy", data, size);
  mixflow::takes([&] { mixflow::check_finite(mixflow::read_array(path)); });
  return 0;
}
