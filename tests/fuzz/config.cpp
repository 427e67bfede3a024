// A config file. What it is resolved to is written out and reads back as the same.
#include "config/load.h"
#include "fuzz.h"

MIXFLOW_FUZZ_TARGET(data, size) {
  const std::string text = mixflow::text_of(data, size);
  std::string dumped;
  const bool taken = mixflow::takes(
      [&] { dumped = mixflow::dump_config(mixflow::parse_config(text, "c.yaml", {})); });
  if (taken) {
    mixflow::must(mixflow::takes([&] {
      mixflow::must(mixflow::dump_config(mixflow::parse_config(dumped, "d.yaml", {})) == dumped);
    }));
  }
  return 0;
}
