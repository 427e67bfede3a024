// A sweep file, up to the settings of its points.
#include "fuzz.h"
#include "sweep/combinations.h"
#include "sweep/spec.h"

MIXFLOW_FUZZ_TARGET(data, size) {
  static const bool made = [] {
    std::ofstream(mixflow::scratch() / "c.yaml")
        << "data: {kind: sinusoid}\nmodel: {kind: mlp, hidden: [4]}\n"
           "meta: {parameters: [{kind: lr}], batch: 2, steps: 3}\n";
    return true;
  }();
  static_cast<void>(made);
  const std::string path = mixflow::scratch_file("s.yaml", data, size);
  mixflow::takes([&] {
    const mixflow::SweepSpec spec = mixflow::load_sweep(path);
    static_cast<void>(mixflow::spec_text(spec));
    static_cast<void>(
        mixflow::expand(spec, [](const std::string&) { return mixflow::Operand{{1.0}}; }));
  });
  return 0;
}
