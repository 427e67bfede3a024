// Overrides (-s key.path=value), one a line, of a config that has every kind of section.
#include "config/load.h"
#include "fuzz.h"
#include "util/text.h"

namespace {

constexpr const char* kConfig =
    "data: {kind: text, path: t.txt, sequence: 8}\n"
    "model: {kind: transformer, vocab: 256, d_model: 8, ffw: 8, heads: 1, kv_size: 8, layers: 1}\n"
    "inner: {steps: 2, optimizer: {kind: adam, lr: 1e-3}}\n"
    "meta: {parameters: [{kind: init}, {kind: lr, granularity: per_tensor}], batch: 4}\n";

}  // namespace

MIXFLOW_FUZZ_TARGET(data, size) {
  const std::string text = mixflow::text_of(data, size);
  std::vector<std::string> overrides;
  for (const std::string_view line : mixflow::split(text, '\n')) overrides.emplace_back(line);
  if (overrides.size() > 20) overrides.resize(20);
  mixflow::takes([&] { mixflow::parse_config(kConfig, "c.yaml", overrides); });
  return 0;
}
